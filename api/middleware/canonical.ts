import { createHash } from 'node:crypto';

/**
 * sha256 (hex) of the canonical JSON of a value: keys sorted, undefined fields left out. Two requests that mean the same
 * have the same hash.
 */
export const canonicalHash = (value: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify(canonical(value)) ?? 'undefined')
    .digest('hex');

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, item]) => [key, canonical(item)] as const);
  return Object.fromEntries(entries);
}
