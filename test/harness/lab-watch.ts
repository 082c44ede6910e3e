import { setTimeout as delay } from 'node:timers/promises';
import { inArray } from 'drizzle-orm';
import {
  isTerminalAllocationState,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { isDatabaseUnavailable, type Queryable } from '../../db/client.ts';
import { allocations } from '../../db/schema.ts';

const everyMs = 30;

interface Waiter {
  readonly id: string;
  readonly states: readonly AllocationState[];
  readonly deadline: number;
  seen: AllocationRow | undefined;
  readonly resolve: (row: AllocationRow) => void;
  readonly reject: (error: Error) => void;
}

/** Follows the states of many allocations with one statement for all of them. */
export class AllocationWatch {
  readonly #q: Queryable;
  readonly #waiters = new Set<Waiter>();
  #running = false;

  constructor(q: Queryable) {
    this.#q = q;
  }

  /**
   * Waits until the allocation is in one of the states.
   * @throws when it ended in another one, or after `withinMs`, with what its row says.
   */
  until(id: string, states: readonly AllocationState[], withinMs: number): Promise<AllocationRow> {
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + withinMs;
      this.#waiters.add({ id, states, deadline, seen: undefined, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiters.size > 0) {
      const rows = await this.#look();
      for (const waiter of this.#waiters) {
        if (this.#settle(waiter, rows)) this.#waiters.delete(waiter);
      }
      if (this.#waiters.size > 0) await delay(everyMs);
    }
    this.#running = false;
  }

  /** A database that is away for a while has nothing to say. */
  async #look(): Promise<ReadonlyMap<string, AllocationRow>> {
    const ids = [...this.#waiters].map((waiter) => waiter.id);
    try {
      const rows = await this.#q.select().from(allocations).where(inArray(allocations.id, ids));
      return new Map(rows.map((row) => [row.id, row]));
    } catch (error) {
      if (isDatabaseUnavailable(error)) return new Map();
      for (const waiter of this.#waiters)
        waiter.reject(error instanceof Error ? error : new Error('look failed'));
      this.#waiters.clear();
      return new Map();
    }
  }

  #settle(waiter: Waiter, rows: ReadonlyMap<string, AllocationRow>): boolean {
    const row = rows.get(waiter.id) ?? waiter.seen;
    waiter.seen = row;
    const wanted = waiter.states.join(' or ');
    if (row !== undefined && waiter.states.includes(row.state)) waiter.resolve(row);
    else if (row !== undefined && isTerminalAllocationState(row.state)) {
      const why = row.failureReason ?? 'no reason';
      waiter.reject(new Error(`allocation ${row.id} ended as ${row.state} (${why}), not ${wanted}`));
    } else if (performance.now() > waiter.deadline) {
      const state =
        row === undefined ? 'has no row' : `is ${row.state} at ${row.version}, waiting on ${row.waitingOn}`;
      waiter.reject(new Error(`allocation ${waiter.id} ${state}, not ${wanted}`));
    } else return false;
    return true;
  }
}
