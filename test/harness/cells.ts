/** Cells of a fault table, run over one lab: side by side where they cannot meet, those that kill workers last. */
import { evidenceOf } from './evidence.ts';
import type { FaultRule } from './faults.ts';
import { until, type Lab } from './lab.ts';

/** Cells at a time: more would only wait for the two cores. */
const sideBySide = 32;
/** A report, or the end of a process. A death waits for every call of its process that is held back, and what holds it may be a whole life. */
const reportMs = 60_000;

export interface Cell {
  readonly name: string;
  /** Also the SKU of its one node. */
  readonly sku: string;
  /** It kills a worker process, and so hits whatever that has in its hands. */
  readonly deadly: boolean;
}

/**
 * Starts them all, in the order given. Each outcome is to be awaited; a failure tells everything that is known of its cell
 * at that moment.
 */
export function startCells<C extends Cell, E>(
  lab: Lab,
  cells: readonly C[],
  live: (cell: C) => Promise<E>,
): ReadonlyMap<string, Promise<E>> {
  const inTurn = atMost(sideBySide);
  const start = (cell: C) => [cell.name, inTurn(() => witnessed(lab, cell.sku, () => live(cell)))] as const;
  const harmless = cells.filter((cell) => !cell.deadly).map(start);
  const others = Promise.allSettled(harmless.map(([, outcome]) => outcome));
  const deadly = cells
    .filter((cell) => cell.deadly)
    .map((cell) => [cell.name, others.then(() => start(cell)[1])] as const);
  const running = new Map([...harmless, ...deadly]);
  // Each is awaited by its own test; until then nobody looks at a failure.
  for (const outcome of running.values()) outcome.catch(() => undefined);
  return running;
}

async function witnessed<T>(lab: Lab, sku: string, live: () => Promise<T>): Promise<T> {
  try {
    return await live();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${message}\n${await evidenceOf(lab, sku)}`, { cause: error });
  }
}

/** Waits until a fault has happened and nothing of it is under way. @throws when a worker has not told of it. */
export async function assertStruck(rule: FaultRule): Promise<void> {
  await rule.settled();
  const state = () => `${rule.calls()} calls`;
  await until('the fault has struck', () => rule.struck(), { withinMs: reportMs, state });
}

/** Runs at most so many jobs at a time, in the order in which they come. */
function atMost(limit: number): <T>(job: () => Promise<T>) => Promise<T> {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
