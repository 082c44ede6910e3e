import { CodedError } from '../contracts/errors.ts';
import { isUuid } from '../contracts/ids.ts';
import type { Answer } from './route.ts';

/** Kinds of the parts of a list's position. */
interface CursorParts {
  int: number;
  bigint: number;
  instant: Date;
  uuid: string;
  text: string;
}
type PartsOf<K extends readonly (keyof CursorParts)[]> = { [I in keyof K]: CursorParts[K[I]] };

/** The last instant of the year 9999, which is the last that RFC 3339 can say. */
const lastInstantMs = 253_402_300_799_999;

const readers: { [K in keyof CursorParts]: (raw: unknown) => CursorParts[K] | undefined } = {
  int: (raw) =>
    typeof raw === 'number' && Number.isInteger(raw) && raw >= 0 && raw <= 2_147_483_647 ? raw : undefined,
  bigint: (raw) => (typeof raw === 'number' && Number.isSafeInteger(raw) && raw >= 0 ? raw : undefined),
  instant: (raw) =>
    typeof raw === 'number' && Number.isInteger(raw) && raw >= 0 && raw <= lastInstantMs
      ? new Date(raw)
      : undefined,
  uuid: (raw) => (isUuid(raw) ? raw : undefined),
  text: (raw) => (typeof raw === 'string' && raw.length <= 300 && !raw.includes('\0') ? raw : undefined),
};

/** An end of a range of time, as a request names it. */
export const instantOf = (text: string | undefined): Date | undefined =>
  text === undefined ? undefined : new Date(text);

/**
 * Reads an opaque cursor (base64url of the JSON of the last item's position).
 * @throws CodedError validation_error when it is not one that this list gave.
 */
export function readCursor<const K extends readonly (keyof CursorParts)[]>(
  cursor: string | undefined,
  kinds: K,
): PartsOf<K> | undefined {
  if (cursor === undefined) return undefined;
  const refuse = (): never => {
    const issue = { path: 'query.cursor', code: 'invalid_cursor', message: 'is not a cursor of this list' };
    throw new CodedError('validation_error', { details: { issues: [issue] } });
  };
  let raw: unknown;
  try {
    raw = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    return refuse();
  }
  if (!Array.isArray(raw) || raw.length !== kinds.length) return refuse();
  const parts = kinds.map((kind, index) => readers[kind]((raw as unknown[])[index]));
  return parts.includes(undefined) ? refuse() : (parts as unknown as PartsOf<K>);
}

/** `{items, next_cursor}` of a query that asked for one row more than `limit`. */
export function pageAnswer<T>(
  rows: readonly T[],
  limit: number,
  position: (item: T) => readonly (string | number | Date)[],
): Answer {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const more = rows.length > limit && last !== undefined;
  const parts = more
    ? position(last).map((part) => (part instanceof Date ? part.getTime() : part))
    : undefined;
  const nextCursor = parts === undefined ? null : Buffer.from(JSON.stringify(parts)).toString('base64url');
  return { status: 200, body: { items, next_cursor: nextCursor } };
}
