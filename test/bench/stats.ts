/** What a series of measurements says. */
export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** The value below which `share` (0 to 1) of the values lie, by nearest rank; NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? NaN;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN;
  return (upper + lower) / 2;
};

export const summarise = (values: readonly number[]): Summary => ({
  count: values.length,
  p50: percentile(values, 0.5),
  p95: percentile(values, 0.95),
  p99: percentile(values, 0.99),
  minimum: percentile(values, 0),
  maximum: percentile(values, 1),
});

/** Median and range of one ratio per repeat; both halves of a ratio come from the same repeat. */
export interface Ratio {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly repeats: readonly number[];
}

export function ratioOf(numerators: readonly number[], denominators: readonly number[]): Ratio {
  const repeats = numerators.map((value, index) => value / (denominators[index] ?? NaN));
  return { median: median(repeats), lowest: Math.min(...repeats), highest: Math.max(...repeats), repeats };
}
