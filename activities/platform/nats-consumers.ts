import { AckPolicy, DeliverPolicy, NatsError, nanos, ReplayPolicy } from 'nats';
import type { ConsumerConfig, ConsumerInfo, JetStreamManager, NatsConnection } from 'nats';
import { compareSettings, type StreamDifference } from './nats-settings.ts';

/** A durable pull consumer as it is declared. No `backoff`: in JetStream it would replace `ack_wait`. */
export interface DurableDeclaration {
  readonly stream: string;
  readonly name: string;
  readonly filterSubject: string;
  readonly description: string;
  readonly ackWaitMs: number;
  /** -1: without a bound. */
  readonly maxDeliver: number;
  readonly maxAckPending: number;
}

export interface ConsumerReport {
  readonly stream: string;
  readonly consumer: string;
  /** `undeclared`: it is there and nobody declares it; it is reported, never deleted. */
  readonly action: 'created' | 'updated' | 'unchanged' | 'missing' | 'different' | 'undeclared';
  readonly differences: readonly StreamDifference[];
}

export interface ConsumerOptions {
  readonly declared: readonly DurableDeclaration[];
  /** Whose undeclared durables are reported; those of the declarations by default. */
  readonly streams?: readonly string[];
  /** False: only compare. */
  readonly apply?: boolean;
}

const consumerNotFound = 10014;
/** Fields that the server refuses to change; a pause is an operator's, and ends by itself. */
const fixed = new Set([
  'ack_policy',
  'deliver_policy',
  'replay_policy',
  'durable_name',
  'deliver_subject',
  'rate_limit_bps',
  'mem_storage',
  'pause_until',
]);
/**
 * Settings that nobody declares and that would keep events from a consumer if somebody set one: replaced its patience,
 * left out bodies or subjects, refused its pulls, or had the durable deleted or forget where it was.
 */
const unset = {
  backoff: [],
  headers_only: false,
  inactive_threshold: 0,
  filter_subjects: [],
  max_batch: 0,
  max_expires: 0,
  max_bytes: 0,
  deliver_subject: undefined,
  rate_limit_bps: 0,
  mem_storage: false,
  pause_until: undefined,
} satisfies { [K in keyof ConsumerConfig]?: ConsumerConfig[K] | undefined };

const configOf = (declared: DurableDeclaration) =>
  ({
    durable_name: declared.name,
    description: declared.description,
    filter_subject: declared.filterSubject,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    ack_wait: nanos(declared.ackWaitMs),
    max_deliver: declared.maxDeliver,
    max_ack_pending: declared.maxAckPending,
  }) satisfies Partial<ConsumerConfig>;

/** A pause that is over is none. */
function compare(declared: object, { config, paused }: ConsumerInfo): StreamDifference[] {
  const actual = paused === true ? config : { ...config, pause_until: undefined };
  return compareSettings({ ...declared, ...unset }, actual, (field) => !fixed.has(field));
}

async function findConsumer(
  jsm: JetStreamManager,
  { stream, name }: DurableDeclaration,
): Promise<ConsumerInfo | undefined> {
  try {
    return await jsm.consumers.info(stream, name);
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.err_code === consumerNotFound) return undefined;
    throw error;
  }
}

async function reconcileConsumer(
  jsm: JetStreamManager,
  declared: DurableDeclaration,
  apply: boolean,
): Promise<ConsumerReport> {
  const config = configOf(declared);
  const report = { stream: declared.stream, consumer: declared.name };
  const actual = await findConsumer(jsm, declared);
  if (actual === undefined) {
    // Repeatable, also by several processes at once: the same declaration finds the same consumer.
    if (apply) await jsm.consumers.add(declared.stream, config);
    return { ...report, action: apply ? 'created' : 'missing', differences: [] };
  }
  const differences = compare(config, actual);
  const wanted = { ...config, ...unset };
  const changes = Object.fromEntries(
    differences.filter((one) => one.applied).map(({ field }) => [field, Reflect.get(wanted, field)]),
  );
  if (differences.length === 0) return { ...report, action: 'unchanged', differences };
  if (!apply) return { ...report, action: 'different', differences };
  if (Object.keys(changes).length === 0) return { ...report, action: 'unchanged', differences };
  await jsm.consumers.update(declared.stream, declared.name, changes);
  return { ...report, action: 'updated', differences };
}

/**
 * Creates the declared durable consumers and brings existing ones up to their declaration. What the server cannot change
 * is reported; an undeclared durable is reported and left alone: it keeps a position that somebody may need.
 * @throws NatsError when JetStream is away or a stream is missing.
 */
export async function reconcileConsumers(
  nc: NatsConnection,
  options: ConsumerOptions,
): Promise<ConsumerReport[]> {
  const jsm = await nc.jetstreamManager();
  const { declared, apply = true } = options;
  const found: ConsumerReport[] = [];
  for (const one of declared) found.push(await reconcileConsumer(jsm, one, apply));
  const known = new Set(declared.map(({ stream, name }) => `${stream} ${name}`));
  for (const stream of options.streams ?? new Set(declared.map((one) => one.stream))) {
    for await (const info of jsm.consumers.list(stream)) {
      if (info.config.durable_name === undefined || known.has(`${stream} ${info.name}`)) continue;
      found.push({ stream, consumer: info.name, action: 'undeclared', differences: [] });
    }
  }
  return found;
}

/** Messages that wait for each durable of the streams: not delivered yet, and delivered but not acknowledged. */
export async function consumerLag(
  nc: NatsConnection,
  streams: Iterable<string>,
): Promise<{ readonly consumer: string; readonly waiting: number; readonly unacknowledged: number }[]> {
  const jsm = await nc.jetstreamManager();
  const lags = [];
  for (const stream of streams) {
    for await (const info of jsm.consumers.list(stream)) {
      if (info.config.durable_name === undefined) continue;
      lags.push({ consumer: info.name, waiting: info.num_pending, unacknowledged: info.num_ack_pending });
    }
  }
  return lags;
}
