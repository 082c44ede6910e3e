import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import {
  aggregatesWaitingOn,
  markPublished,
  markPublishedEvents,
  perAggregateMax,
  unpublished,
  unpublishedOf,
  waiting,
} from '../../db/ops/outbox.store.ts';
import type { Backlog, OutboxRow } from '../../db/ops/outbox.store.ts';
import { backoffMs, Holds } from './holds.ts';
import type { HeldLease } from './leases.ts';
import { PublishError, correlationOf } from './ports.ts';
import type { EventSink, RelayCounters, RelayLog } from './ports.ts';

/** Clocks of database and JetStream may differ by this much. */
const clockSlackMs = 60_000;
/** How far back the streams are searched for rows whose age nobody can tell. */
const unknownAgeMs = 86_400_000;
/** Longest that a batch waits for answers before the next one is read. */
const slowMs = 250;
/** With more batches than this on their way, the next one is read after the last has its answers. */
const batchesInFlight = 4;
/** Between two searches of the streams. */
const searchPauseMs = 2000;

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

/**
 * Publishes the rows of one partition under one lease.
 *
 * Aggregates go side by side; within one, the next row leaves only after the acknowledgement of the one before, so what
 * JetStream stores of an aggregate is always a prefix of it, whatever fails when. A row that fails holds back its own
 * aggregate alone, and is repeated with the same message id, beside the batches; one that gets no answer keeps nobody
 * else waiting either.
 */
export class PartitionPump {
  readonly lease: HeldLease;
  private readonly deps: PumpDeps;
  /** How long after it was sent first a row may be sent again unseen. */
  private readonly safeMs: number;
  private readonly holds: Holds;
  /** Aggregates of which something is on its way, at most one row each. */
  private readonly flights = new Map<string, Promise<void>>();
  /** Stored but not yet marked: never published again by this pump. */
  private readonly acked = new Set<number>();
  private readonly markings = new Set<Promise<number>>();
  private running: Promise<void> | undefined;
  private searching = false;
  private searchAt = 0;
  private dirty = false;
  private stopped = false;
  private failures = 0;
  private timer: NodeJS.Timeout | undefined;
  /** Whether an earlier holder may have stored rows that still wait here. */
  private inherited = true;

  constructor(lease: HeldLease, deps: PumpDeps) {
    this.lease = lease;
    this.deps = deps;
    this.safeMs = deps.duplicateWindowMs / 2;
    this.holds = new Holds(this.safeMs);
  }

  /** Aggregates that wait behind a failed publish. */
  heldAggregates(): number {
    return this.holds.size;
  }

  /** Looks for rows, now or right after the round that runs. */
  wake(): void {
    this.dirty = true;
    if (this.running !== undefined || this.stopped) return;
    this.running = this.run().finally(() => {
      this.running = undefined;
      if (this.dirty && this.mayPublish()) this.wake();
    });
  }

  /** The connection is back: what waited for it need not wait longer. */
  resume(): void {
    this.failures = 0;
    this.searchAt = 0;
    this.holds.retryNow();
    this.wake();
  }

  /** Starts nothing new; resolves when what was on its way has ended and is marked. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
    await Promise.all(this.flights.values());
    await Promise.allSettled(this.markings);
    await this.mark().catch((error: unknown) =>
      this.deps.log.warn({ partition: this.lease.partition, err: error }, 'what is stored was not marked'),
    );
  }

  private mayPublish(): boolean {
    return !this.stopped && this.deps.sink.isUp() && this.deps.isValid(this.lease);
  }

  /** Whether a row of the aggregate may be stored so long already that its message id is forgotten. */
  private isForgotten(aggregateId: string): boolean {
    return this.inherited || this.holds.isOverdue(aggregateId);
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
        this.dirty = false;
        this.wakeAfter(backoffMs(this.failures));
        return;
      }
    }
    // Without connection or lease, `resume`, a sweep or the next holder goes on.
    if (!this.mayPublish()) return;
    const searchAt = !this.searching && this.holds.overdue(this.flights).size > 0 ? this.searchAt : Infinity;
    const next = Math.min(this.holds.nextAt(this.flights), searchAt);
    if (Number.isFinite(next)) this.wakeAfter(Math.max(0, next - performance.now()));
  }

  private wakeAfter(ms: number): void {
    clearTimeout(this.timer);
    if (!this.stopped) this.timer = setTimeout(() => this.wake(), ms);
  }

  /** One batch, and what is due of the held aggregates beside it. @returns whether there may be more to do at once. */
  private async round(): Promise<boolean> {
    await this.settleInherited();
    this.searchBeside();
    await this.mark();
    await this.repeatBeside();
    const { db, batchSize } = this.deps;
    const except = new Set([...this.holds.ids(), ...this.flights.keys()]);
    const rows = await unpublished(db.q, this.lease.partition, batchSize, [...except]);
    const chains = [...groupRows(rows)];
    const flights = chains.map(([aggregateId, chain]) => this.launch(aggregateId, chain));
    const slow = this.flights.size > batchesInFlight * batchSize ? Infinity : slowMs;
    if (!(await settledWithin(flights, slow))) this.wakeAfterEach(flights);
    await this.mark();
    // Fewer than were asked for are all there were; what is committed from now on wakes the pump itself. What of them
    // is not stored is held or on its way: the next batch is another one.
    return rows.length >= batchSize || chains.some(([, chain]) => chain.length >= perAggregateMax);
  }

  /** Tries aggregates again whose time has come; nobody waits for their answers. */
  private async repeatBeside(): Promise<void> {
    const due = this.holds.due(this.flights);
    if (due.length === 0) return;
    const chains = groupRows(await unpublishedOf(this.deps.db.q, due));
    for (const aggregateId of due) {
      const chain = chains.get(aggregateId);
      // Its rows were found in the stream: it holds nothing.
      if (chain === undefined) this.holds.drop(aggregateId);
      else this.wakeAfterEach([this.launch(aggregateId, chain)]);
    }
  }

  private launch(aggregateId: string, chain: readonly OutboxRow[]): Promise<void> {
    const flight = this.publishChain(chain).finally(() => this.flights.delete(aggregateId));
    this.flights.set(aggregateId, flight);
    return flight;
  }

  private wakeAfterEach(flights: readonly Promise<void>[]): void {
    for (const flight of flights) void flight.then(() => this.wake());
  }

  /** Publishes rows of one aggregate in order until one fails. */
  private async publishChain(rows: readonly OutboxRow[]): Promise<void> {
    const { sink, counters } = this.deps;
    for (const row of rows) {
      if (this.acked.has(row.id)) continue;
      if (!this.mayPublish()) return;
      if (this.isForgotten(row.aggregateId)) {
        this.dirty = true;
        return;
      }
      const sentAt = performance.now();
      try {
        assertNoConnectionHeld('NATS');
        const { duplicate } = await sink.publish(row);
        this.acked.add(row.id);
        this.holds.stored(row.aggregateId);
        if (duplicate) counters.duplicates += 1;
        else counters.stored += 1;
      } catch (error) {
        this.failed(row, sentAt, error);
        return;
      }
    }
  }

  private failed(row: OutboxRow, sentAt: number, error: unknown): void {
    const { counters, log } = this.deps;
    const { partition, eventId, subject, aggregateId } = row;
    const failure = error instanceof PublishError ? error.failure : 'unknown';
    counters.failures += 1;
    const attempts =
      failure === 'refused'
        ? this.holds.refused(aggregateId, subject)
        : this.holds.unanswered(aggregateId, subject, sentAt);
    if (failure === 'disconnected') return;
    const correlation_id = correlationOf(row);
    log.warn(
      { partition, event_id: eventId, subject, correlation_id, failure, attempts, err: error },
      'publish failed; the aggregate waits',
    );
  }

  private async mark(): Promise<void> {
    const ids = [...this.acked];
    if (ids.length === 0) return;
    await markPublished(this.deps.db.q, this.lease, ids);
    for (const id of ids) this.acked.delete(id);
  }

  /**
   * Rows that an earlier holder may have stored (it died between publish and mark, the database was away) are looked up
   * in the streams before anything is published: JetStream may have forgotten their message ids, and how long they wait
   * is only what clocks say that may have been set meanwhile. Aggregates with rows on a stream that cannot be read are
   * held until it can.
   */
  private async settleInherited(): Promise<void> {
    if (!this.inherited) return;
    const now = performance.now();
    const { db } = this.deps;
    const { partition } = this.lease;
    const backlog = await waiting(db.q, partition);
    if (backlog !== undefined) {
      const ageMs = this.inheritedAgeMs(backlog);
      const unread = await this.search(backlog.subjects, ageMs);
      const doubtful = unread.size === 0 ? [] : await aggregatesWaitingOn(db.q, partition, [...unread]);
      for (const { aggregateId, subjects } of doubtful) {
        this.holds.doubted(aggregateId, { since: now - ageMs, subjects });
      }
      this.searchAt = performance.now() + searchPauseMs;
    }
    this.inherited = false;
  }

  /**
   * How old what waits may be: the most that the database's clock and this process's say, and at least as long as
   * JetStream remembers, which bridges a clock that was set back by a little. Where one makes a row look unborn by more
   * than clocks differ, its age is unknown, not small.
   */
  private inheritedAgeMs({ oldestAgeMs, oldestAt }: Backlog): number {
    const ages = [oldestAgeMs, Date.now() - oldestAt.getTime()];
    const unborn = ages.some((age) => age < -clockSlackMs);
    return Math.max(...ages, this.deps.duplicateWindowMs, unborn ? unknownAgeMs : 0);
  }

  /** Looks for rows whose fate has been unknown for too long; only their own aggregates wait for it. */
  private searchBeside(): void {
    const now = performance.now();
    if (this.searching || now < this.searchAt) return;
    const doubts = this.holds.overdue(this.flights);
    if (doubts.size === 0) return;
    const all = [...doubts.values()];
    const subjects = [...new Set(all.flatMap((doubt) => doubt.subjects))];
    const oldest = all.reduce((least, { since }) => Math.min(least, since), now);
    this.searching = true;
    this.search(subjects, now - oldest)
      .then((unread) => this.holds.searched(doubts, unread))
      .catch((error: unknown) =>
        this.deps.log.warn({ partition: this.lease.partition, err: error }, 'search of the streams failed'),
      )
      .finally(() => {
        this.searching = false;
        this.searchAt = performance.now() + searchPauseMs;
        this.wake();
      });
  }

  /** Marks what the streams hold of the last `ageMs`. @returns the subjects that could not be read. */
  private async search(subjects: readonly string[], ageMs: number): Promise<ReadonlySet<string>> {
    const { db, sink, counters, log } = this.deps;
    let found = 0;
    const unread = await sink.storedSince(subjects, ageMs + clockSlackMs, async (eventIds) => {
      if (this.stopped) return;
      const marking = markPublishedEvents(db.q, this.lease, eventIds);
      this.markings.add(marking);
      found += await marking.finally(() => this.markings.delete(marking));
    });
    counters.recovered += found;
    const fields = { partition: this.lease.partition, found, oldest_age_ms: ageMs, unread };
    if (unread.length === 0) log.info(fields, 'outbox compared with streams');
    else log.warn(fields, 'outbox compared with streams; what is on those that cannot be read waits');
    return new Set(unread);
  }
}

/** Waits for all, but not longer than `ms`. @returns whether all have ended. */
async function settledWithin(flights: readonly Promise<void>[], ms: number): Promise<boolean> {
  const all = Promise.all(flights).then(() => true);
  if (!Number.isFinite(ms)) return all;
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  return Promise.race([all, over]).finally(() => clearTimeout(timer));
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
