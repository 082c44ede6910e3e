/** How fast events leave the outbox: the relay against raw publishes of the same bytes, and commit to consumer. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { AckPolicy, DeliverPolicy, headers, type NatsConnection } from 'nats';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { openRedis } from '../../activities/platform/redis.ts';
import { wakeRelay } from '../../activities/platform/redis-wake.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { defaultDuplicateWindowMs } from '../../contracts/streams.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { migrate } from '../../db/migrate.ts';
import { outboxPartitionCount, partitionOf, publish } from '../../db/outbox.ts';
import { waitUntil } from '../../workers/local/process.ts';
import type { RunContext } from '../../workers/local/run.ts';
import { Service } from '../../workers/local/service.ts';
import { startStack } from '../../workers/local/stack.ts';
import { JetStreamSink, NatsPeers } from '../../workers/relay/jetstream.ts';
import { Relay } from '../../workers/relay/relay.ts';
import { sampleEvent } from '../harness/sample-event.ts';
import { describeMachine, type Machine } from './machine.ts';
import { ratioOf, summarise, type Ratio, type Summary } from './stats.ts';

export interface EventPlaneReport {
  readonly benchmark: 'gpuaas-events';
  readonly at: string;
  readonly machine: Machine;
  readonly events_per_repeat: number;
  readonly body_bytes: number;
  readonly raw_per_second: readonly number[];
  readonly relay_per_second: readonly number[];
  /** Relay / raw JetStream publishes of the same bytes. */
  readonly relay_ratio: Ratio;
  readonly commit_to_consumer_ms: {
    readonly at_100_per_second: Summary;
    readonly saturated: Summary;
    readonly saturated_per_second: number;
  };
}

interface Sizes {
  readonly events: number;
  readonly repeats: number;
  readonly paced: number;
  readonly saturatedMs: number;
}

const full: Sizes = { events: 10_000, repeats: 5, paced: 1000, saturatedMs: 8000 };
const quick: Sizes = { events: 1000, repeats: 2, paced: 100, saturatedMs: 1500 };

/** Acknowledgements that the raw publisher waits for at once; more did not make it faster. */
const rawInFlight = 512;
const perAggregate = 4;
const insertBatch = 500;
const writers = 16;
const deadlineMs = 120_000;

interface Scene {
  readonly db: Database;
  readonly nats: NatsConnection;
  readonly env: Readonly<Record<string, string>>;
  readonly stateDir: string;
}

/** Runs the benchmark on a stack of its own: Postgres, NATS and Redis, nothing else. */
export async function runEventBench(
  context: RunContext,
  options: { readonly quick: boolean; readonly repeats: number | undefined },
): Promise<EventPlaneReport> {
  const sizes = options.quick ? quick : full;
  const repeats = options.repeats ?? sizes.repeats;
  const machine = describeMachine({});
  const scene = await openScene(context);
  const [raw, relay]: [number[], number[]] = [[], []];
  let bodyBytes = 0;
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const bodies = await fillOutbox(scene, sizes.events);
    bodyBytes = Buffer.byteLength(bodies[0] ?? '');
    // In turns, the first one alternating: a file cache that warms up favours nobody.
    const steps = [
      async () => raw.push(await publishRaw(scene, bodies)),
      async () => relay.push(await drainOutbox(scene, sizes.events)),
    ];
    for (const step of repeat % 2 === 0 ? steps : steps.toReversed()) await step();
    context.log(`relay ${repeat + 1}: raw ${raw.at(-1)?.toFixed(0)}/s, relay ${relay.at(-1)?.toFixed(0)}/s`);
  }
  const latency = await measureLatency(context, scene, sizes);
  return {
    benchmark: 'gpuaas-events',
    at: new Date().toISOString(),
    machine,
    events_per_repeat: sizes.events,
    body_bytes: bodyBytes,
    raw_per_second: raw,
    relay_per_second: relay,
    relay_ratio: ratioOf(relay, raw),
    commit_to_consumer_ms: latency,
  };
}

async function openScene({ onStop }: RunContext): Promise<Scene> {
  const stack = await startStack({
    name: 'bench-events',
    ports: 'free',
    wipe: true,
    parts: ['postgres', 'nats', 'redis'],
  });
  onStop(() => stack.stop());
  await migrate(stack.env['DATABASE_OWNER_URL'] ?? '');
  const db = openDatabase({
    url: stack.env['DATABASE_URL'] ?? '',
    applicationName: 'bench',
    max: writers + 4,
  });
  onStop(() => db.close());
  const nats = await connectNats({ url: stack.env['NATS_URL'] ?? '', name: 'bench' });
  onStop(() => nats.close());
  await reconcileStreams(nats, { environment: 'test', duplicateWindowMs: defaultDuplicateWindowMs });
  return { db, nats, env: stack.env, stateDir: stack.stateDir };
}

/** Commits so many events while no relay runs. @returns their bodies as they will travel. */
async function fillOutbox({ db }: Scene, count: number): Promise<string[]> {
  for (let from = 0; from < count; from += insertBatch) {
    await db.tx(async (tx) => {
      for (let at = from; at < Math.min(count, from + insertBatch); at += perAggregate) {
        const aggregateId = randomUUID();
        for (let seq = 1; seq <= perAggregate; seq += 1) {
          await publish(tx, provisioningFailed, sampleEvent(aggregateId, seq));
        }
      }
    });
  }
  const rows = await db.q.execute<{ body: unknown }>(
    sql`select body from outbox where published_at is null order by id`,
  );
  if (rows.rows.length !== count) throw new Error(`${rows.rows.length} rows instead of ${count}`);
  return rows.rows.map((row) => JSON.stringify(row.body));
}

/** The same bytes under other message ids, straight to JetStream. @returns messages a second. */
async function publishRaw({ nats }: Scene, bodies: readonly string[]): Promise<number> {
  const js = nats.jetstream();
  const encoder = new TextEncoder();
  let next = 0;
  const startedAt = performance.now();
  const lane = async (): Promise<void> => {
    while (next < bodies.length) {
      const body = bodies[next++] ?? '';
      const extra = headers();
      extra.set('Correlation-Id', 'raw');
      await js.publish(provisioningFailed.subject, encoder.encode(body), {
        msgID: randomUUID(),
        headers: extra,
      });
    }
  };
  await Promise.all(Array.from({ length: rawInFlight }, lane));
  return (bodies.length / (performance.now() - startedAt)) * 1000;
}

/** A relay in this process, as the raw publisher is. @returns events a second until the last row is marked. */
async function drainOutbox({ db, nats }: Scene, count: number): Promise<number> {
  const sink = new JetStreamSink(nats);
  const quiet = { info: () => undefined, warn: () => undefined };
  const relay = new Relay(
    { db, sink, peers: new NatsPeers(nats, sink), log: quiet },
    {
      owner: randomUUID(),
      partitionCount: outboxPartitionCount,
      duplicateWindowMs: defaultDuplicateWindowMs,
    },
  );
  const startedAt = performance.now();
  relay.start();
  await waitUntil(() => relay.counters.stored >= count, {
    deadlineMs,
    pollMs: 1,
    onTimeout: () => `${relay.counters.stored} of ${count} events were relayed`,
  });
  await waitUntil(async () => (await unmarked(db)) === 0, {
    deadlineMs,
    pollMs: 1,
    onTimeout: () => 'rows were not marked',
  });
  const perSecond = (count / (performance.now() - startedAt)) * 1000;
  await relay.stop();
  return perSecond;
}

async function unmarked(db: Database): Promise<number> {
  const found = await db.q.execute<{ left: boolean }>(
    sql`select exists (select 1 from outbox where published_at is null) as left`,
  );
  return found.rows[0]?.left === true ? 1 : 0;
}

async function measureLatency(
  { onStop, log }: RunContext,
  scene: Scene,
  sizes: Sizes,
): Promise<EventPlaneReport['commit_to_consumer_ms']> {
  const { db, nats, env, stateDir } = scene;
  const arrived = new Map<string, number>();
  const consumed = await consumeInto(nats, arrived);
  onStop(consumed);
  const relay = new Service({
    name: 'relay',
    entry: 'workers/relay/main.ts',
    env: { ...env, GPUAAS_ENV: 'test', LOG_LEVEL: 'warn' },
    logDir: `${stateDir}/logs`,
    probe: async () => {
      const held = await db.q.execute<{ held: boolean }>(
        sql`select bool_and(expires_at > clock_timestamp()) as held from outbox_partitions`,
      );
      if (held.rows[0]?.held !== true) throw new Error('not every partition is held');
    },
  });
  await relay.start();
  onStop(() => relay.stop());
  const redis = openRedis(env['REDIS_URL'] ?? '', 'bench');
  onStop(async () => redis.disconnect());
  await waitUntil(() => redis.status === 'ready', { deadlineMs, onTimeout: () => 'no Redis' });
  const committed = new Map<string, number>();
  const commit = async (): Promise<void> => {
    const aggregateId = randomUUID();
    const id = await db.tx((tx) => publish(tx, provisioningFailed, sampleEvent(aggregateId, 1)));
    committed.set(id, performance.now());
    await wakeRelay(redis, [partitionOf(aggregateId)]);
  };
  const settle = async (): Promise<number[]> => {
    await waitUntil(() => [...committed.keys()].every((id) => arrived.has(id)), {
      deadlineMs,
      onTimeout: () => 'events are missing at the consumer',
    });
    // An event may overtake its commit's answer: that is 0, not less.
    const latencies = [...committed].map(([id, at]) => Math.max(0, (arrived.get(id) ?? NaN) - at));
    committed.clear();
    return latencies;
  };
  for (let warm = 0; warm < 20; warm += 1) await commit();
  await settle();
  const paced = await atPace(100, sizes.paced, commit).then(settle);
  log(`commit to consumer at 100/s: ${paced.length} events`);
  const startedAt = performance.now();
  const end = startedAt + sizes.saturatedMs;
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (performance.now() < end) await commit();
    }),
  );
  const saturated = await settle();
  const perSecond = (saturated.length / (performance.now() - startedAt)) * 1000;
  log(`commit to consumer saturated: ${saturated.length} events`);
  return {
    at_100_per_second: summarise(paced),
    saturated: summarise(saturated),
    saturated_per_second: perSecond,
  };
}

/** Starts `count` pieces of work, so many a second, whether or not the earlier ones have ended. */
async function atPace(perSecond: number, count: number, work: () => Promise<void>): Promise<void> {
  const startedAt = performance.now();
  const running: Promise<void>[] = [];
  for (let at = 0; at < count; at += 1) {
    const due = startedAt + (at / perSecond) * 1000 - performance.now();
    if (due > 0) await delay(due);
    running.push(work());
  }
  await Promise.all(running);
}

async function consumeInto(nats: NatsConnection, arrived: Map<string, number>): Promise<() => Promise<void>> {
  const jsm = await nats.jetstreamManager();
  const stream = await jsm.streams.find(provisioningFailed.subject);
  await jsm.consumers.add(stream, {
    durable_name: 'bench-probe',
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.New,
    filter_subject: provisioningFailed.subject,
  });
  const consumer = await nats.jetstream().consumers.get(stream, 'bench-probe');
  const messages = await consumer.consume({
    callback: (message) => {
      arrived.set(message.headers?.get('Nats-Msg-Id') ?? '', performance.now());
      message.ack();
    },
  });
  return async () => void (await messages.close());
}

const line = (name: string, of: Summary): string =>
  `${name.padEnd(36)}${[of.p50, of.p95, of.p99, of.maximum].map((value) => value.toFixed(1).padStart(9)).join('')}${String(of.count).padStart(9)}`;

/** The report as text for a terminal. */
export function renderEventReport(report: EventPlaneReport): string {
  const { machine, relay_ratio: ratio, commit_to_consumer_ms: latency } = report;
  const loaded = machine.load_average_at_start > machine.cores;
  const verdict = loaded ? 'loaded' : ratio.median >= 0.5 ? 'met' : 'missed';
  return [
    `${machine.cores} cores, ${machine.cpu_model}, Node ${machine.node}, load average at start ${machine.load_average_at_start.toFixed(2)}`,
    `relay / raw JetStream publishes     ${ratio.median.toFixed(2)}  (${ratio.lowest.toFixed(2)} to ${ratio.highest.toFixed(2)}, ${ratio.repeats.length} repeats of ${report.events_per_repeat} events, ${report.body_bytes} bytes each)`,
    `  ${verdict}: at least 0.5 on an idle machine`,
    '',
    `${'commit to consumer, ms'.padEnd(36)}${['p50', 'p95', 'p99', 'max', 'n'].map((name) => name.padStart(9)).join('')}`,
    line('at 100 a second', latency.at_100_per_second),
    line(`saturated (${latency.saturated_per_second.toFixed(0)} a second)`, latency.saturated),
  ].join('\n');
}
