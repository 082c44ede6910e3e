import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { sql } from 'drizzle-orm';
import type { ConsumerInfo, JsMsg, MsgHdrs, NatsConnection } from 'nats';
import pino from 'pino';
import { z } from 'zod';
import { afterEach } from 'vitest';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { channel, dlqSubject, type AnyChannel, type NatsConfig } from '../../contracts/envelope.ts';
import { consumerName, streams, type StreamDeclaration } from '../../contracts/streams.ts';
import { openDatabase, type Database, type Tx } from '../../db/client.ts';
import type { DeadLetterRow } from '../../db/ops/dead-letter.schema.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { deadLetters } from '../../db/schema.ts';
import { deadLetterDesk, type OperatorAlert } from '../../workers/consumers/ops/dead-letter.consumer.ts';
import { streamOf } from '../../workers/consumers/plan.ts';
import { ConsumerRuntime, type RuntimeOptions } from '../../workers/consumers/runtime.ts';
import {
  effect,
  type AfterCommit,
  type ConsumerGroup,
  type Subscription,
} from '../../workers/consumers/subscription.ts';
import { readStream } from '../../workers/relay/read-stream.ts';
import { queryAs } from '../harness/database.ts';
import type { FoundEffect } from '../harness/event-auditor.ts';
import { fastBackoff } from '../harness/lab-consumers.ts';
import { until, type World } from './fixture.ts';

const limits = { maxAgeMs: 3_600_000, maxBytes: 16 * 1_048_576, replicas: 1 } as const;

/** Subjects of tests, beside those of the contract. */
export const trialStream: StreamDeclaration = {
  name: 'TRIAL',
  subjects: ['trial.>'],
  description: 'Channels of tests.',
  limits: { single: limits, production: limits },
};
export const trialStreams = [...streams, trialStream];
export const trialStreamOf = (subject: string): string =>
  subject.startsWith('trial.') ? trialStream.name : streamOf(subject);

const quick: NatsConfig = { ackWaitSeconds: 2, maxDeliver: 4 };

/** A channel of a test; another name for every test keeps them apart. */
export const trialChannel = (name: string, nats: NatsConfig = quick) =>
  channel({
    subject: `trial.${name}`,
    messageName: 'Trial',
    operationId: `publishTrial_${name}`,
    direction: 'publish',
    version: '1.0',
    nats,
    payload: z.strictObject({ n: z.int().min(0) }),
  });
export type TrialChannel = ReturnType<typeof trialChannel>;

/** The stream of tests, and a table where every effect is a row: one that happens twice is seen. */
export async function prepareTrials(world: World): Promise<void> {
  const { nc, duplicateWindowMs } = world;
  await reconcileStreams(nc, { environment: 'test', duplicateWindowMs, declared: trialStreams });
  const owner = world.env('DATABASE_OWNER_URL');
  await queryAs(owner, 'create table trial_effects (consumer text, event_id uuid, n int)');
  await queryAs(owner, 'grant select, insert on trial_effects to gpuaas_app');
}

export async function addEffect(tx: Tx, consumer: string, eventId: string, n: number): Promise<void> {
  await tx.execute(sql`insert into trial_effects values (${consumer}, ${eventId}, ${n})`);
}

/** Effects of the consumers, in no order. */
export async function effectsOf(db: Database, ...consumers: readonly string[]): Promise<FoundEffect[]> {
  const found = await db.q.execute<{ consumer: string; event_id: string }>(
    sql`select consumer, event_id from trial_effects where consumer = any(${sql.param([...consumers])}::text[])`,
  );
  return found.rows.map((row) => ({ consumer: row.consumer, eventId: row.event_id }));
}

/** An effect that writes its row, and before that whatever the test wants. */
export const recording = (
  group: ConsumerGroup,
  of: TrialChannel,
  before: (seen: { eventId: string; delivery: number; n: number; tx: Tx }) => Promise<void> | void = () =>
    undefined,
  after?: AfterCommit,
): Subscription =>
  effect(group, of, async (tx, { event, delivery }) => {
    const { n } = event.payload;
    await before({ eventId: event.event_id, delivery, n, tx });
    await addEffect(tx, consumerName(group, of.subject), event.event_id, n);
    return after;
  });

export interface LocalConsumers {
  readonly runtime: ConsumerRuntime;
  readonly alerts: readonly OperatorAlert[];
  /** Lines of its log, as JSON. */
  readonly log: readonly string[];
  stop(): Promise<void>;
}

/** A runtime inside this process, with connections of its own. */
export async function startConsumers(
  world: World,
  subscriptions: readonly Subscription[],
  options: Partial<RuntimeOptions> & {
    /** Called with its connection before it is used. */
    readonly around?: (nc: NatsConnection) => void;
    readonly probeTarget?: () => Promise<void>;
    /** False: the desk cannot write a letter down yet. */
    readonly mayWriteDown?: () => boolean;
  } = {},
): Promise<LocalConsumers> {
  const db = openDatabase({ url: world.env('DATABASE_URL'), applicationName: 'consumers-under-test' });
  const nc = await connectNats({ url: world.env('NATS_URL'), name: 'consumers-under-test' });
  const { around, probeTarget = () => Promise.resolve(), mayWriteDown = () => true, ...rest } = options;
  around?.(nc);
  const alerts: OperatorAlert[] = [];
  const log: string[] = [];
  const alertOperators = (_tx: Tx, alert: OperatorAlert): Promise<AfterCommit> =>
    Promise.resolve(() => void alerts.push(alert));
  const desk = deadLetterDesk({ db, policies: createPolicyReader(db.q), alertOperators });
  const runtime = new ConsumerRuntime(
    {
      db,
      nc,
      log: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }),
      subscriptions,
      writeDown: (letter) => (mayWriteDown() ? desk(letter) : Promise.reject(new Error('not yet'))),
      probeTarget,
    },
    {
      streams: {
        environment: 'test',
        duplicateWindowMs: world.duplicateWindowMs,
        declared: trialStreams,
      },
      streamOf: trialStreamOf,
      backoff: fastBackoff,
      ...rest,
    },
  );
  const started = runtime.start();
  const stop = async (): Promise<void> => {
    await runtime.stop(2000);
    await started;
    await nc.flush().catch(() => undefined);
    await nc.close();
    await db.close();
  };
  return { runtime, alerts, log, stop };
}

type ConsumersGiven = Parameters<typeof startConsumers> extends [unknown, ...infer R] ? R : never;

/** As `startConsumers`, for a file of tests: whatever a test has started is stopped after it. */
export function startingConsumers(world: () => World) {
  const running = new Set<LocalConsumers>();
  afterEach(async () => {
    for (const one of running) await one.stop();
  });
  return async (...given: ConsumersGiven): Promise<LocalConsumers> => {
    const started = await startConsumers(world(), ...given);
    const one = {
      ...started,
      stop: async () => {
        running.delete(one);
        await started.stop();
      },
    };
    running.add(one);
    return one;
  };
}

/** A message of a test channel. */
export const trialMessage = (of: AnyChannel, n: number, eventId: string = randomUUID()) => ({
  event_id: eventId,
  event_type: of.subject,
  occurred_at: '2026-01-02T03:04:05.678Z',
  version: of.version,
  correlation_id: 'consumers-test',
  payload: { n },
});

/** Publishes to JetStream directly, as a relay would. @returns the stored messages' ids. */
export async function sendTrials(world: World, of: AnyChannel, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const message = trialMessage(of, n);
    await sendRaw(world, of.subject, JSON.stringify(message), message.event_id);
    ids.push(message.event_id);
  }
  return ids;
}

/** Publishes any bytes; without an id nothing holds a repeat back. @returns its place in the stream. */
export async function sendRaw(
  world: World,
  subject: string,
  body: string,
  msgID?: string,
  headers?: MsgHdrs,
): Promise<number> {
  const ack = await world.nc.jetstream().publish(subject, body, {
    ...(msgID === undefined ? {} : { msgID }),
    ...(headers === undefined ? {} : { headers }),
  });
  return ack.seq;
}

/** Messages that the DLQ holds of a subject. */
export async function lettersOn(world: World, subject: string): Promise<JsMsg[]> {
  const letters: JsMsg[] = [];
  for await (const batch of readStream(world.nc, { stream: 'DLQ', subjects: [dlqSubject(subject)] }))
    letters.push(...batch);
  return letters;
}

/** Waits for the rows that the desk wrote for a subject. */
export async function rowsOn(world: World, subject: string, count: number): Promise<DeadLetterRow[]> {
  let rows: DeadLetterRow[] = [];
  await until(`${count} dead letters on ${subject}`, async () => {
    rows = await world.db.q
      .select()
      .from(deadLetters)
      .where(sql`subject = ${subject}`);
    return rows.length >= count;
  });
  return rows;
}

/** What JetStream knows of a durable; undefined when there is none. */
export async function durableInfo(
  world: World,
  stream: string,
  name: string,
): Promise<ConsumerInfo | undefined> {
  try {
    return await (await world.nc.jetstreamManager()).consumers.info(stream, name);
  } catch {
    return undefined;
  }
}

/** Waits until a durable has nothing left to deliver and nothing in hand. */
export const untilSettled = (world: World, stream: string, name: string): Promise<void> =>
  until(`${name} has settled everything`, async () => {
    const info = await durableInfo(world, stream, name);
    return info !== undefined && info.num_pending === 0 && info.num_ack_pending === 0;
  });

export interface ConsumerProcess {
  readonly child: ChildProcess;
  /** Everything that it logged so far. */
  output(): string;
  metrics(): Promise<string>;
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  end(): Promise<number | null>;
  readonly exited: Promise<unknown>;
}

/** A process of consumers: the product's own, or a test's entry that says `runs` when it does. */
export async function spawnConsumers(
  world: World,
  extra: Readonly<Record<string, string>> = {},
  entry = 'workers/consumers/main.ts',
): Promise<ConsumerProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', entry], {
    env: {
      ...process.env,
      TEMPORAL_ADDRESS: '127.0.0.1:1',
      ...world.stack.env,
      GPUAAS_ENV: 'test',
      OUTBOX_DUPLICATE_WINDOW_MS: String(world.duplicateWindowMs),
      CONSUMERS_BACKOFF_BASE_MS: '5',
      CONSUMERS_BACKOFF_MAX_MS: '20',
      ...extra,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    void exited.then(() => reject(new Error(`the consumers ended before they ran: ${lines.join('\n')}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (!line.includes('event consumers run')) return;
      resolve(Number(/"metrics":\{[^}]*"port":(\d+)/.exec(line)?.[1] ?? 0));
    });
  });
  return {
    child,
    exited,
    output: () => lines.join('\n'),
    metrics: async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text(),
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
