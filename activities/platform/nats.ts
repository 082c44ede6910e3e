import { connect, DiscardPolicy, Events, NatsError, nanos, RetentionPolicy, StorageType } from 'nats';
import type { JetStreamManager, NatsConnection, StreamConfig } from 'nats';
import { defaultDuplicateWindowMs, streamLimits, streams } from '../../contracts/streams.ts';
import type { StreamDeclaration, StreamEnvironment } from '../../contracts/streams.ts';

const firstRetryMs = 100;
const maxRetryMs = 2000;
const pingIntervalMs = 5000;
const streamNotFound = 10059;

/**
 * Connects, and reconnects for ever: after 100 ms, doubling to 2 s. Also the first connection is waited for.
 * @param url one address, or several separated by commas; may carry credentials and is never logged.
 */
export async function connectNats(options: { url: string; name: string }): Promise<NatsConnection> {
  let attempt = 0;
  const nc = await connect({
    servers: options.url.split(','),
    name: options.name,
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    reconnectDelayHandler: () => Math.min(firstRetryMs * 2 ** Math.min(attempt++, 5), maxRetryMs),
    pingInterval: pingIntervalMs,
    maxPingOut: 2,
  });
  attempt = 0;
  void (async () => {
    for await (const status of nc.status()) if (status.type === Events.Reconnect) attempt = 0;
  })();
  return nc;
}

/** One field in which a stream differs from its declaration. */
export interface StreamDifference {
  readonly field: string;
  readonly declared: string;
  readonly actual: string;
  /** False where applying it would delete messages, or the server cannot change it. */
  readonly applied: boolean;
}

export interface StreamReport {
  readonly stream: string;
  /** `missing` and `different` are what a comparison finds that applies nothing. */
  readonly action: 'created' | 'updated' | 'unchanged' | 'missing' | 'different';
  readonly differences: readonly StreamDifference[];
}

export interface StreamOptions {
  readonly environment: StreamEnvironment;
  /** How long a message id is remembered; 120 s by default. */
  readonly duplicateWindowMs?: number;
  readonly declared?: readonly StreamDeclaration[];
  /** False: only compare. */
  readonly apply?: boolean;
}

type Config = Pick<
  StreamConfig,
  | 'subjects'
  | 'description'
  | 'max_age'
  | 'max_bytes'
  | 'num_replicas'
  | 'duplicate_window'
  | 'retention'
  | 'storage'
  | 'discard'
>;

function configOf(declared: StreamDeclaration, options: StreamOptions): Config {
  const limits = streamLimits(declared, options.environment);
  return {
    subjects: [...declared.subjects],
    description: declared.description,
    max_age: nanos(limits.maxAgeMs),
    max_bytes: limits.maxBytes,
    num_replicas: limits.replicas,
    duplicate_window: nanos(options.duplicateWindowMs ?? defaultDuplicateWindowMs),
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
  };
}

/** Fields that the server refuses to change. */
const fixed = new Set(['retention', 'storage']);
/** Limits: a smaller one deletes what is over it. Zero and below mean none. */
const limiting = new Set(['max_age', 'max_bytes']);

const unlimited = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : Infinity);

function mayApply(field: string, declared: unknown, actual: unknown): boolean {
  if (fixed.has(field)) return false;
  return !limiting.has(field) || unlimited(declared) >= unlimited(actual);
}

function compare(declared: Config, actual: StreamConfig): StreamDifference[] {
  return Object.entries(declared).flatMap(([field, want]) => {
    const have: unknown = Reflect.get(actual, field);
    if (JSON.stringify(want) === JSON.stringify(have)) return [];
    const applied = mayApply(field, want, have);
    return [{ field, declared: JSON.stringify(want), actual: JSON.stringify(have) ?? 'none', applied }];
  });
}

async function findStream(jsm: JetStreamManager, name: string): Promise<StreamConfig | undefined> {
  try {
    return (await jsm.streams.info(name)).config;
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.err_code === streamNotFound) return undefined;
    throw error;
  }
}

async function createStream(jsm: JetStreamManager, name: string, declared: Config): Promise<boolean> {
  try {
    await jsm.streams.add({ name, ...declared });
    return true;
  } catch (error) {
    // Another process was faster, with a declaration of another version.
    if ((await findStream(jsm, name)) !== undefined) return false;
    throw error;
  }
}

async function reconcileStream(
  jsm: JetStreamManager,
  stream: StreamDeclaration,
  options: StreamOptions,
): Promise<StreamReport> {
  const declared = configOf(stream, options);
  const apply = options.apply ?? true;
  let actual = await findStream(jsm, stream.name);
  if (actual === undefined) {
    if (!apply) return { stream: stream.name, action: 'missing', differences: [] };
    if (await createStream(jsm, stream.name, declared)) {
      return { stream: stream.name, action: 'created', differences: [] };
    }
    actual = await findStream(jsm, stream.name);
  }
  if (actual === undefined) throw new Error(`stream ${stream.name} was deleted while it was reconciled`);
  const differences = compare(declared, actual);
  if (!apply) {
    return { stream: stream.name, action: differences.length === 0 ? 'unchanged' : 'different', differences };
  }
  const changes = differences
    .filter((difference) => difference.applied)
    .map((difference) => difference.field);
  if (changes.length === 0) return { stream: stream.name, action: 'unchanged', differences };
  const change = Object.fromEntries(Object.entries(declared).filter(([field]) => changes.includes(field)));
  await jsm.streams.update(stream.name, change);
  return { stream: stream.name, action: 'updated', differences };
}

/**
 * Creates the declared streams and brings existing ones up to their declaration. Never deletes a stream or a message:
 * a smaller limit, another storage or retention is reported and left to an operator. Streams that are not declared are
 * not touched. Repeatable, also by several processes at once.
 * @throws NatsError when JetStream is away or refuses.
 */
export async function reconcileStreams(nc: NatsConnection, options: StreamOptions): Promise<StreamReport[]> {
  const jsm = await nc.jetstreamManager();
  const reports: StreamReport[] = [];
  for (const stream of options.declared ?? streams) reports.push(await reconcileStream(jsm, stream, options));
  return reports;
}

const recoveredKey = 'gpuaas-recovered';

/**
 * Streams that hold no mark of having been filled up: they are new, or were deleted and made again.
 * @throws NatsError when JetStream is away or a stream is missing.
 */
export async function unmarkedStreams(nc: NatsConnection, names: readonly string[]): Promise<string[]> {
  const jsm = await nc.jetstreamManager();
  const unmarked: string[] = [];
  for (const name of names) {
    const { config } = await jsm.streams.info(name);
    if (config.metadata?.[recoveredKey] === undefined) unmarked.push(name);
  }
  return unmarked;
}

/** Marks a stream as filled up; the mark lives and dies with it. */
export async function markStream(nc: NatsConnection, name: string, at: Date): Promise<void> {
  const jsm = await nc.jetstreamManager();
  const { config } = await jsm.streams.info(name);
  await jsm.streams.update(name, { metadata: { ...config.metadata, [recoveredKey]: at.toISOString() } });
}
