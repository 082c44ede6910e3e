import type { Database } from '../../db/client.ts';
import { deletePublished, partitionsWithWork } from '../../db/ops/outbox.store.ts';
import { LeaseKeeper, type HeldLease } from './leases.ts';
import { PartitionPump, type PumpDeps } from './partition-pump.ts';
import type { EventSink, PeerChannel, RelayCounters, RelayLog } from './ports.ts';

export interface RelayOptions {
  /** Unique to this process. */
  readonly owner: string;
  readonly partitionCount: number;
  /** How long JetStream remembers a message id, in ms. */
  readonly duplicateWindowMs: number;
  /** How long a dead relay's partitions lie idle at most; 3 s by default. */
  readonly leaseMs?: number;
  readonly sweepMs?: number;
  /** Rows whose aggregates one batch looks at. */
  readonly batchSize?: number;
  readonly cleanUpEveryMs?: number;
  /** Age at which a published row is deleted; 7 days by default. */
  readonly keepMs?: number;
}

export interface RelayDeps {
  readonly db: Database;
  readonly sink: EventSink;
  readonly peers: PeerChannel;
  readonly log: RelayLog;
}

const defaults = {
  leaseMs: 3000,
  sweepMs: 500,
  batchSize: 200,
  cleanUpEveryMs: 60_000,
  keepMs: 7 * 86_400_000,
} as const;
const cleanUpBatch = 500;

/**
 * Carries committed outbox rows to JetStream: at least once from Postgres, once into the stream (message id = event id),
 * in order within an aggregate. Any number of relays share the partitions.
 */
export class Relay {
  readonly counters: RelayCounters = {
    stored: 0,
    duplicates: 0,
    failures: 0,
    recovered: 0,
    leasesLost: 0,
    deleted: 0,
  };
  private readonly deps: RelayDeps;
  private readonly options: Required<RelayOptions>;
  private readonly leases: LeaseKeeper;
  private readonly pumps = new Map<number, PartitionPump>();
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly tasks = new Map<string, Promise<void>>();
  private stopping = false;

  constructor(deps: RelayDeps, options: RelayOptions) {
    this.deps = deps;
    this.options = { ...defaults, ...options };
    this.leases = new LeaseKeeper(
      deps.db,
      deps.peers,
      {
        gained: (lease) => this.gained(lease),
        lost: (lease) => this.lost(lease),
        drained: (lease) => this.drained(lease),
      },
      { owner: options.owner, partitionCount: options.partitionCount, leaseMs: this.options.leaseMs },
    );
  }

  /** Begins at once; a database or NATS that is away is waited for. */
  start(): void {
    const { leaseMs, sweepMs, cleanUpEveryMs } = this.options;
    this.deps.sink.onUp(() => {
      for (const pump of this.pumps.values()) pump.resume();
    });
    this.every(leaseMs / 3, 'leases', () => this.leases.maintain());
    this.every(sweepMs, 'sweep', () => this.sweep());
    this.every(cleanUpEveryMs, 'clean-up', () => this.cleanUp());
    this.once('leases', () => this.leases.maintain());
  }

  /** Looks at partitions that somebody just committed to; at all of them when undefined. */
  wake(partitions?: readonly number[]): void {
    for (const partition of partitions ?? this.pumps.keys()) this.pumps.get(partition)?.wake();
  }

  /** Partitions that this relay holds now. */
  partitions(): number[] {
    return this.leases.leases().map((lease) => lease.partition);
  }

  /** Aggregates that wait behind a failed publish. */
  heldAggregates(): number {
    return [...this.pumps.values()].reduce((sum, pump) => sum + pump.heldAggregates(), 0);
  }

  /** Lets what is on its way arrive, marks it, gives the partitions back. */
  async stop(): Promise<void> {
    this.stopping = true;
    for (const timer of this.timers) clearInterval(timer);
    await Promise.all([...this.pumps.values()].map((pump) => pump.stop()));
    await Promise.all(this.tasks.values());
    await this.leases.close();
  }

  private every(ms: number, name: string, work: () => Promise<void>): void {
    this.timers.push(setInterval(() => this.once(name, work), ms));
  }

  /** Runs a task unless it runs already; a failure is logged, and the timer repeats it. */
  private once(name: string, work: () => Promise<void>): void {
    if (this.tasks.has(name) || this.stopping) return;
    const task = work()
      .catch((error: unknown) => this.deps.log.warn({ task: name, err: error }, 'outbox task failed'))
      .finally(() => this.tasks.delete(name));
    this.tasks.set(name, task);
  }

  private gained(lease: HeldLease): void {
    const { db, sink, log } = this.deps;
    const deps: PumpDeps = {
      db,
      sink,
      log,
      counters: this.counters,
      isValid: (held) => this.leases.isValid(held),
      batchSize: this.options.batchSize,
      duplicateWindowMs: this.options.duplicateWindowMs,
    };
    if (this.stopping) return;
    const pump = new PartitionPump(lease, deps);
    this.pumps.set(lease.partition, pump);
    log.info({ partition: lease.partition, epoch: lease.epoch }, 'partition taken');
    pump.wake();
  }

  private lost(lease: HeldLease): void {
    this.counters.leasesLost += 1;
    this.deps.log.warn({ partition: lease.partition, epoch: lease.epoch }, 'partition lost');
    void this.drained(lease);
  }

  private async drained(lease: HeldLease): Promise<void> {
    const pump = this.pumps.get(lease.partition);
    if (pump?.lease !== lease) return;
    this.pumps.delete(lease.partition);
    await pump.stop();
  }

  private async sweep(): Promise<void> {
    if (!this.deps.sink.isUp()) return;
    this.wake(await partitionsWithWork(this.deps.db.q, [...this.pumps.keys()]));
  }

  private async cleanUp(): Promise<void> {
    if (this.pumps.size === 0) return;
    for (let deleted = cleanUpBatch; deleted === cleanUpBatch && !this.stopping;) {
      deleted = await deletePublished(this.deps.db.q, this.options.keepMs, cleanUpBatch);
      this.counters.deleted += deleted;
    }
  }
}
