import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { readNow } from '../../db/clock.ts';
import { migrate } from '../../db/migrate.ts';
import { outboxPartitionCount, partitionOf, publish } from '../../db/outbox.ts';
import { startStack, type Stack } from '../../workers/local/stack.ts';
import { JetStreamSink, NatsPeers } from '../../workers/relay/jetstream.ts';
import { Relay, type RelayOptions } from '../../workers/relay/relay.ts';
import { readEventTrail } from '../../workers/relay/trail.ts';
import { auditEvents, type AuditFinding, type CommittedEvent } from '../harness/event-auditor.ts';

/** Short, so that a dead relay's partitions move within the test's patience. */
export const leaseMs = 1500;
/** Far more than anything takes: it only ends the wait for what will never come, before the test itself is ended. */
const waitMs = 55_000;

/**
 * Polls a condition until it holds.
 * @throws when it does not within 55 s.
 */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await delay(10);
  }
}

export interface World {
  readonly stack: Stack;
  readonly db: Database;
  readonly nc: NatsConnection;
  readonly redis: Redis;
  readonly duplicateWindowMs: number;
  /** Value of an environment variable of the stack. */
  env(name: string): string;
  close(): Promise<void>;
}

/** A stack of its own with Postgres, NATS and Redis, migrated, with the declared streams. */
export async function openWorld(name: string, duplicateWindowMs: number): Promise<World> {
  const stack = await startStack({
    name,
    ports: 'free',
    ephemeral: true,
    parts: ['postgres', 'nats', 'redis'],
  });
  const env = (variable: string): string => {
    const value = stack.env[variable];
    if (value === undefined) throw new Error(`the stack gives no ${variable}`);
    return value;
  };
  await migrate(env('DATABASE_OWNER_URL'));
  const db = openDatabase({ url: env('DATABASE_URL'), applicationName: 'events-test' });
  const nc = await connectNats({ url: env('NATS_URL'), name: 'events-test' });
  await reconcileStreams(nc, { environment: 'test', duplicateWindowMs });
  const redis = new Redis(env('REDIS_URL'), { retryStrategy: () => 100 });
  redis.on('error', () => undefined);
  const close = async (): Promise<void> => {
    redis.disconnect();
    await nc.close();
    await db.close();
    await stack.stop();
  };
  return { stack, db, nc, redis, duplicateWindowMs, env, close };
}

/** Waits until the server takes a message id for new that it was given before the call. */
export async function windowPassed(world: World): Promise<void> {
  const js = world.nc.jetstream();
  const msgID = `probe-${performance.now()}`;
  await js.publish('dlq.probe', '', { msgID });
  await until(
    'the duplicate window is over',
    async () => !(await js.publish('dlq.probe', '', { msgID })).duplicate,
  );
}

export interface LocalRelay {
  readonly relay: Relay;
  readonly sink: JetStreamSink;
  stop(): Promise<void>;
}

/** A relay inside this process, with connections of its own. */
export async function startRelay(
  world: Pick<World, 'env' | 'duplicateWindowMs'>,
  options: Partial<RelayOptions> = {},
): Promise<LocalRelay> {
  const db = openDatabase({ url: world.env('DATABASE_URL'), applicationName: 'relay-under-test', max: 5 });
  const nc = await connectNats({ url: world.env('NATS_URL'), name: 'relay-under-test' });
  const sink = new JetStreamSink(nc);
  const quiet = { info: () => undefined, warn: () => undefined };
  const relay = new Relay(
    { db, sink, peers: new NatsPeers(nc, sink), log: quiet },
    {
      owner: randomUUID(),
      partitionCount: outboxPartitionCount,
      duplicateWindowMs: world.duplicateWindowMs,
      leaseMs,
      ...options,
    },
  );
  relay.start();
  const stop = async (): Promise<void> => {
    await relay.stop();
    await nc.close();
    await db.close();
  };
  return { relay, sink, stop };
}

export interface RelayProcess {
  readonly child: ChildProcess;
  /** Value of a metric of the process, by its full name. */
  metric(name: string): Promise<number>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  end(): Promise<number | null>;
}

/** The relay as the process that runs in production; resolves when it publishes. */
export async function spawnRelay(
  world: World,
  extra: Readonly<Record<string, string>> = {},
): Promise<RelayProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'workers/relay/main.ts'], {
    env: {
      ...process.env,
      ...world.stack.env,
      GPUAAS_ENV: 'test',
      OUTBOX_LEASE_MS: String(leaseMs),
      OUTBOX_DUPLICATE_WINDOW_MS: String(world.duplicateWindowMs),
      ...extra,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const port = await new Promise<number>((resolve, reject) => {
    void exited.then(() => reject(new Error('the relay ended before it ran')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /"metrics":\{[^}]*"port":(\d+)/.exec(line)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
  });
  return {
    child,
    metric: (name) => readMetric(port, name),
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
    end: async () => {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
  };
}

async function readMetric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  if (line === undefined) throw new Error(`the relay has no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

/** Commits events of its own aggregates and audits them, undisturbed by other tests of the file. */
export class Writer {
  readonly committed: CommittedEvent[] = [];
  private readonly world: World;
  private readonly seqs = new Map<string, number>();

  constructor(world: World) {
    this.world = world;
  }

  /** New aggregates; with a partition given, all of it. */
  aggregates(count: number, partition?: number): string[] {
    const made: string[] = [];
    while (made.length < count) {
      const id = randomUUID();
      if (partition === undefined || partitionOf(id) === partition) made.push(id);
    }
    for (const id of made) this.seqs.set(id, 0);
    return made;
  }

  /** One transaction with the next version of the aggregate: `positions` events. @returns the first event's id. */
  async commit(aggregateId: string, positions = 1): Promise<string> {
    const seq = (this.seqs.get(aggregateId) ?? 0) + 1;
    const events = await this.world.db.tx(async (tx) => {
      const occurredAt = await readNow(tx);
      const written: CommittedEvent[] = [];
      for (let position = 0; position < positions; position += 1) {
        const eventId = await publish(tx, provisioningFailed, {
          payload: { allocation_id: aggregateId, user_id: randomUUID(), reason: `${seq}.${position}` },
          idempotencyKey: [aggregateId, String(seq), String(position)],
          aggregateId,
          aggregateSeq: seq,
          position,
          correlationId: 'events-test',
          occurredAt,
          traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        });
        written.push({ eventId, aggregateId, aggregateSeq: seq, position });
      }
      return written;
    });
    this.seqs.set(aggregateId, seq);
    this.committed.push(...events);
    return events[0]?.eventId ?? '';
  }

  /** The aggregate's version stands at `seq`: somebody else wrote up to it. */
  startAt(aggregateId: string, seq: number): void {
    this.seqs.set(aggregateId, seq);
  }

  /** Versions of several aggregates at once, each aggregate in its own order. */
  async commitEach(aggregates: readonly string[], versions: number): Promise<void> {
    await Promise.all(
      aggregates.map(async (aggregateId) => {
        for (let at = 0; at < versions; at += 1) await this.commit(aggregateId);
      }),
    );
  }

  /** Ids of this writer's events that the stream holds, in its order. */
  async stored(): Promise<{ seq: number; eventId: string }[]> {
    const trail = await readEventTrail(this.world.nc, { timeoutMs: waitMs });
    return trail
      .filter((event) => this.seqs.has(String(event.envelope.payload['allocation_id'])))
      .map((event) => ({ seq: event.seq, eventId: event.messageId }));
  }

  /** How many of this writer's rows are not marked as published. */
  async unmarked(): Promise<number> {
    const result = await this.world.db.q.execute<{ count: string }>(
      sql`select count(*) from outbox where published_at is null
          and aggregate_id = any(${sql.param([...this.seqs.keys()])}::uuid[])`,
    );
    return Number(result.rows[0]?.count);
  }

  /** Waits until every row is marked, then compares with the stream. */
  async audit(): Promise<AuditFinding[]> {
    await until('all rows are marked', async () => (await this.unmarked()) === 0);
    return auditEvents(this.committed, await this.stored());
  }
}
