/**
 * A value that is `bytes` long as JSON; nothing at all for 0. It begins with `about`, where there is room.
 */
export function filler(bytes: number, about?: number): string | undefined {
  if (bytes < 2) return undefined;
  return `${about ?? ''},`.padEnd(bytes - 2, 'x').slice(0, bytes - 2);
}

/** The `about` of a filler. */
export const fillerAbout = (value: string | undefined): number => Number.parseInt(value ?? '0', 10) || 0;
