/** Pauses between the deliveries of a message that failed. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

export const defaultBackoff: Backoff = { baseMs: 500, maxMs: 60_000 };

/**
 * Pause before the next delivery, in ms: doubles with every delivery up to the maximum, the upper half of it by chance,
 * so that what failed together does not come back together.
 * @param delivery the one that failed, from 1.
 * @param chance from 0 up to 1.
 */
export function pauseAfter(delivery: number, backoff: Backoff, chance: number = Math.random()): number {
  const fullMs = Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(delivery - 1, 30));
  return Math.ceil(fullMs / 2 + (fullMs / 2) * chance);
}
