import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import {
  markPublished,
  markPublishedEvents,
  perAggregateMax,
  unpublished,
  waiting,
} from '../../db/ops/outbox.store.ts';
import type { OutboxRow } from '../../db/ops/outbox.store.ts';
import type { HeldLease } from './leases.ts';
import { PublishError } from './ports.ts';
import type { EventSink, RelayCounters, RelayLog } from './ports.ts';

const firstBackoffMs = 100;
const maxBackoffMs = 2000;
/** Clocks of database and JetStream may differ by this much. */
const clockSlackMs = 60_000;
/** How far back the streams are searched for rows whose age nobody can tell. */
const unknownAgeMs = 86_400_000;
const heldMax = 1000;

const backoffMs = (attempts: number): number =>
  Math.min(firstBackoffMs * 2 ** Math.min(attempts - 1, 5), maxBackoffMs);

export interface PumpDeps {
  readonly db: Database;
  readonly sink: EventSink;
  readonly log: RelayLog;
  readonly counters: RelayCounters;
  readonly isValid: (lease: HeldLease) => boolean;
  readonly batchSize: number;
  /** How long JetStream remembers a message id, in ms. */
  readonly duplicateWindowMs: number;
}

interface Hold {
  attempts: number;
  retryAt: number;
}

/**
 * Publishes the rows of one partition under one lease.
 *
 * Aggregates go side by side; within one, the next row leaves only after the acknowledgement of the one before, so what
 * JetStream stores of an aggregate is always a prefix of it, whatever fails when. A row that fails holds back its own
 * aggregate alone, and is repeated with the same message id.
 */
export class PartitionPump {
  readonly lease: HeldLease;
  private readonly deps: PumpDeps;
  private readonly holds = new Map<string, Hold>();
  /** Stored but not yet marked: never published again by this pump. */
  private readonly acked = new Set<number>();
  private running: Promise<void> | undefined;
  private dirty = false;
  private stopped = false;
  private failures = 0;
  private timer: NodeJS.Timeout | undefined;
  /** When every row that could be seen was last known to be stored or never sent; at first, never. */
  private lastCleanAt = -Infinity;

  constructor(lease: HeldLease, deps: PumpDeps) {
    this.lease = lease;
    this.deps = deps;
  }

  /** Aggregates that wait behind a failed publish. */
  heldAggregates(): number {
    return this.holds.size;
  }

  /** Looks for rows, now or right after the round that runs. */
  wake(): void {
    this.dirty = true;
    if (this.running !== undefined || this.stopped) return;
    this.running = this.run().finally(() => (this.running = undefined));
  }

  /** The connection is back: what waited for it need not wait longer. */
  resume(): void {
    this.failures = 0;
    for (const hold of this.holds.values()) hold.retryAt = 0;
    this.wake();
  }

  /** Starts nothing new; resolves when what was on its way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private mayPublish(): boolean {
    return !this.stopped && this.deps.sink.isUp() && this.deps.isValid(this.lease);
  }

  private async run(): Promise<void> {
    while (this.dirty && this.mayPublish()) {
      this.dirty = false;
      try {
        if (await this.round()) this.dirty = true;
        this.failures = 0;
      } catch (error) {
        this.failures += 1;
        this.deps.log.warn({ partition: this.lease.partition, err: error }, 'outbox round failed');
        this.wakeAfter(backoffMs(this.failures));
        return;
      }
    }
    // Without connection or lease, `resume`, a sweep or the next holder goes on.
    if (!this.mayPublish()) return;
    const next = Math.min(...[...this.holds.values()].map((hold) => hold.retryAt));
    if (Number.isFinite(next)) this.wakeAfter(Math.max(0, next - performance.now()));
  }

  private wakeAfter(ms: number): void {
    clearTimeout(this.timer);
    if (!this.stopped) this.timer = setTimeout(() => this.wake(), ms);
  }

  /** One batch. @returns whether there may be more to do at once. */
  private async round(): Promise<boolean> {
    await this.recover();
    await this.mark();
    const { db, batchSize } = this.deps;
    const now = performance.now();
    const held = [...this.holds].filter(([, hold]) => hold.retryAt > now).map(([aggregateId]) => aggregateId);
    const rows = await unpublished(db.q, [this.lease.partition], batchSize, held.slice(0, heldMax));
    const chains = groupRows(rows);
    this.dropSettledHolds(chains, now);
    const stored = await Promise.all([...chains.values()].map((chain) => this.publishChain(chain)));
    const progress = this.acked.size > 0;
    await this.mark();
    if (this.holds.size === 0 && stored.every((all) => all)) this.lastCleanAt = performance.now();
    // Fewer than were asked for are all there were; what is committed from now on wakes the pump itself.
    const wasFull =
      rows.length >= batchSize || [...chains.values()].some((chain) => chain.length >= perAggregateMax);
    return progress && wasFull;
  }

  /** A hold whose aggregate has no row left (its rows were found in the stream) holds nothing. */
  private dropSettledHolds(chains: ReadonlyMap<string, unknown>, now: number): void {
    for (const [aggregateId, hold] of this.holds) {
      if (hold.retryAt <= now && !chains.has(aggregateId)) this.holds.delete(aggregateId);
    }
  }

  /** Publishes rows of one aggregate in order until one fails. @returns whether all of them are stored. */
  private async publishChain(rows: readonly OutboxRow[]): Promise<boolean> {
    const { sink, counters, log } = this.deps;
    for (const row of rows) {
      if (this.acked.has(row.id)) continue;
      if (!this.mayPublish()) return false;
      try {
        assertNoConnectionHeld('NATS');
        const { duplicate } = await sink.publish(row);
        this.acked.add(row.id);
        this.holds.delete(row.aggregateId);
        if (duplicate) counters.duplicates += 1;
        else counters.stored += 1;
      } catch (error) {
        const failure = error instanceof PublishError ? error.failure : 'unknown';
        counters.failures += 1;
        if (failure !== 'disconnected') {
          const attempts = this.hold(row.aggregateId);
          const { partition, eventId, subject } = row;
          const { correlation_id } = row.body;
          log.warn(
            { partition, event_id: eventId, subject, correlation_id, failure, attempts, err: error },
            'publish failed; the aggregate waits',
          );
        }
        return false;
      }
    }
    return true;
  }

  private hold(aggregateId: string): number {
    const attempts = (this.holds.get(aggregateId)?.attempts ?? 0) + 1;
    this.holds.set(aggregateId, { attempts, retryAt: performance.now() + backoffMs(attempts) });
    return attempts;
  }

  private async mark(): Promise<void> {
    const ids = [...this.acked];
    if (ids.length === 0) return;
    await markPublished(this.deps.db.q, this.lease, ids);
    for (const id of ids) this.acked.delete(id);
  }

  /**
   * Rows whose fate has been unknown for so long that JetStream may have forgotten their message ids (a relay died
   * between publish and mark, the database was away) are looked up in the streams and marked where they are stored.
   */
  private async recover(): Promise<void> {
    const { db, sink, counters, log, duplicateWindowMs } = this.deps;
    const safeMs = duplicateWindowMs / 2;
    if (performance.now() - this.lastCleanAt < safeMs) return;
    const backlog = await waiting(db.q, this.lease.partition);
    if (backlog === undefined) return;
    // A clock that was set back makes a row look unborn: its age is unknown, not small.
    const ageMs = backlog.oldestAgeMs < 0 ? unknownAgeMs : backlog.oldestAgeMs;
    if (ageMs < safeMs) return;
    let found = 0;
    await sink.storedSince(backlog.subjects, ageMs + clockSlackMs, async (eventIds) => {
      found += await markPublishedEvents(db.q, this.lease, eventIds);
    });
    counters.recovered += found;
    this.lastCleanAt = performance.now();
    log.info(
      { partition: this.lease.partition, found, oldest_age_ms: backlog.oldestAgeMs },
      'outbox compared with streams',
    );
  }
}

function groupRows(rows: readonly OutboxRow[]): Map<string, OutboxRow[]> {
  const groups = new Map<string, OutboxRow[]>();
  for (const row of rows) {
    const group = groups.get(row.aggregateId);
    if (group === undefined) groups.set(row.aggregateId, [row]);
    else group.push(row);
  }
  return groups;
}
