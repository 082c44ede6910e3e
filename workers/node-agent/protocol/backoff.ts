const FIRST_MS = 25;
/** An API that is back is noticed within this. */
const CAP_MS = 2000;

/** Milliseconds before attempt `failures + 1`: exponential, capped at 2 s, with half of it random. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const full = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(Math.max(failures - 1, 0), 16));
  return full / 2 + (full / 2) * random();
}
