import type { Database } from '../../db/client.ts';
import { claimPartitions, releasePartitions, renewPartitions } from '../../db/ops/outbox.store.ts';
import type { PartitionLease } from '../../db/ops/outbox.store.ts';
import type { PeerChannel, PeerNotice } from './ports.ts';

/** A lease with its end on this process's monotonic clock, which runs on while the process is paused. */
export interface HeldLease extends PartitionLease {
  validUntil: number;
}

export interface LeaseOptions {
  readonly owner: string;
  readonly partitionCount: number;
  readonly leaseMs: number;
}

export interface LeaseEvents {
  gained(lease: HeldLease): void;
  /** The partition is somebody else's; nothing of it may be published any more. */
  lost(lease: HeldLease): void;
  /** Resolves when nothing of the partition is on its way any more. */
  drained(lease: HeldLease): Promise<void>;
}

/** A lease counts as over this part of its length early: what was sent before has arrived when the next holder starts. */
const safetyPart = 0.25;

/**
 * Holds this relay's share of the partitions: takes free ones up to ceil(partitions / live relays), renews them, gives
 * the surplus back when a relay joins.
 */
export class LeaseKeeper {
  private readonly db: Database;
  private readonly peers: PeerChannel;
  private readonly events: LeaseEvents;
  private readonly options: LeaseOptions;
  private readonly held = new Map<number, HeldLease>();
  private readonly lastHeard = new Map<string, number>();
  private running: Promise<void> | undefined;
  private again = false;
  private closed = false;

  constructor(db: Database, peers: PeerChannel, events: LeaseEvents, options: LeaseOptions) {
    this.db = db;
    this.peers = peers;
    this.events = events;
    this.options = options;
    peers.onNotice((notice) => this.hear(notice));
  }

  /** True while this relay alone may publish the partition; compared with the clock at every call. */
  isValid(lease: HeldLease): boolean {
    return this.held.get(lease.partition) === lease && performance.now() < lease.validUntil;
  }

  leases(): HeldLease[] {
    return [...this.held.values()];
  }

  /** Renews, shares and claims, one run at a time; a call during a run has another one follow. */
  maintain(): Promise<void> {
    if (this.running !== undefined) {
      this.again = true;
      return this.running;
    }
    this.running = this.rounds().finally(() => (this.running = undefined));
    return this.running;
  }

  /** Gives everything back. Publishing must have ended. */
  async close(): Promise<void> {
    this.closed = true;
    await this.running?.catch(() => undefined);
    const leases = this.leases();
    this.held.clear();
    try {
      await releasePartitions(this.db.q, leases);
    } finally {
      this.peers.announce({ owner: this.options.owner, kind: 'leaving' });
    }
  }

  private hear(notice: PeerNotice): void {
    if (notice.owner === this.options.owner) return;
    const known = this.lastHeard.has(notice.owner);
    if (notice.kind === 'leaving') this.lastHeard.delete(notice.owner);
    else this.lastHeard.set(notice.owner, performance.now());
    // A failed run is repeated by the caller's timer.
    if (!known || notice.kind !== 'alive') this.maintain().catch(() => undefined);
  }

  private async rounds(): Promise<void> {
    do {
      this.again = false;
      if (this.closed) return;
      await this.renew();
      await this.share();
      this.peers.announce({ owner: this.options.owner, kind: 'alive' });
    } while (this.again);
  }

  private validUntil(startedAt: number): number {
    return startedAt + this.options.leaseMs * (1 - safetyPart);
  }

  private async renew(): Promise<void> {
    const startedAt = performance.now();
    const leases = this.leases();
    const kept = new Set(await renewPartitions(this.db.q, leases, this.options.leaseMs));
    for (const lease of leases) {
      if (kept.has(lease.partition)) lease.validUntil = this.validUntil(startedAt);
      else this.drop(lease);
    }
  }

  private drop(lease: HeldLease): void {
    if (this.held.get(lease.partition) !== lease) return;
    this.held.delete(lease.partition);
    this.events.lost(lease);
  }

  private fairShare(): number {
    const horizon = performance.now() - this.options.leaseMs;
    for (const [owner, at] of this.lastHeard) if (at < horizon) this.lastHeard.delete(owner);
    return Math.ceil(this.options.partitionCount / (this.lastHeard.size + 1));
  }

  private async share(): Promise<void> {
    const share = this.fairShare();
    const surplus = this.leases().slice(share);
    if (surplus.length > 0) {
      for (const lease of surplus) this.held.delete(lease.partition);
      await Promise.all(surplus.map((lease) => this.events.drained(lease)));
      await releasePartitions(this.db.q, surplus);
      this.peers.announce({ owner: this.options.owner, kind: 'freed' });
    }
    const startedAt = performance.now();
    const wanted = share - this.held.size;
    for (const claimed of await claimPartitions(
      this.db.q,
      this.options.owner,
      this.options.leaseMs,
      wanted,
    )) {
      const lease: HeldLease = { ...claimed, validUntil: this.validUntil(startedAt) };
      const before = this.held.get(lease.partition);
      if (before !== undefined) this.drop(before);
      this.held.set(lease.partition, lease);
      this.events.gained(lease);
    }
  }
}
