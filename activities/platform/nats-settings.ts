/** One field in which a stream or a durable differs from its declaration. */
export interface StreamDifference {
  readonly field: string;
  readonly declared: string;
  readonly actual: string;
  /** False where applying it would delete messages, or the server cannot change it. */
  readonly applied: boolean;
}

/** What the server leaves out, or fills in, where nothing is set: absent, false, zero, without a bound, empty. */
function isUnset(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === null || value === false || value === 0 || value === -1;
}

const show = (value: unknown): string => JSON.stringify(value) ?? 'none';

/** Fields of `declared` in which `actual` differs; those that are not set in either are equal. */
export function compareSettings(
  declared: object,
  actual: object,
  mayApply: (field: string, declared: unknown, actual: unknown) => boolean,
): StreamDifference[] {
  return Object.entries(declared).flatMap(([field, want]: [string, unknown]) => {
    const have: unknown = Reflect.get(actual, field);
    if (show(want) === show(have) || (isUnset(want) && isUnset(have))) return [];
    return [{ field, declared: show(want), actual: show(have), applied: mayApply(field, want, have) }];
  });
}
