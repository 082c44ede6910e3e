import { setTimeout as delay } from 'node:timers/promises';
import { connect, DiscardPolicy, Events, NatsError, nanos, RetentionPolicy, StorageType } from 'nats';
import type { ConnectionOptions, JetStreamManager, NatsConnection, StreamConfig } from 'nats';
import { defaultDuplicateWindowMs, streamLimits, streams } from '../../contracts/streams.ts';
import type { StreamDeclaration, StreamEnvironment } from '../../contracts/streams.ts';
import { readNatsAccess } from './nats-address.ts';
import { compareSettings, type StreamDifference } from './nats-settings.ts';

const firstRetryMs = 100;
const maxRetryMs = 2000;
const pingIntervalMs = 5000;
const streamNotFound = 10059;

export interface NatsOptions {
  /** One address, or several separated by commas, with `user:password@` or `token@` before the host; never logged. */
  readonly url: string;
  readonly name: string;
  /** A file with a user's JWT and seed, instead of credentials in the address. */
  readonly credsFile?: string | undefined;
  /** What the first connection is tried again after: `outage` by default; `all` also after a refusal of the credentials. */
  readonly retry?: 'outage' | 'all' | 'none';
  /** Longest that one attempt may take. */
  readonly timeoutMs?: number;
}

/**
 * Connects, and reconnects for ever, also when the credentials are refused for a while: after 100 ms, doubling to 2 s.
 * Also the first connection is waited for.
 * @throws NatsError when the first connection is refused for its credentials.
 * @throws Error that names no value when the address or the file cannot be read.
 */
export async function connectNats(options: NatsOptions): Promise<NatsConnection> {
  const access = readNatsAccess(options.url, options.credsFile);
  let attempt = 0;
  const pauseMs = (): number => Math.min(firstRetryMs * 2 ** Math.min(attempt++, 5), maxRetryMs);
  const connection = {
    ...access,
    name: options.name,
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: pauseMs,
    pingInterval: pingIntervalMs,
    maxPingOut: 2,
  };
  const nc = await firstConnection(connection, options.retry ?? 'outage', pauseMs);
  attempt = 0;
  void (async () => {
    for await (const status of nc.status()) if (status.type === Events.Reconnect) attempt = 0;
  })();
  return nc;
}

/** Room for the headers of a message, which count against the same bound as its body. */
const headerBytes = 65_536;

/**
 * Tells, now and after every reconnection, of a server that refuses messages which the product writes.
 * @param bodyBytes of the largest body.
 * @param tell is given the server's bound and what is needed, in bytes, while the bound is too small.
 */
export function watchPayloadBound(
  nc: NatsConnection,
  bodyBytes: number,
  tell: (bounds: { readonly max_payload: number; readonly needed_bytes: number }) => void,
): void {
  const needed = bodyBytes + headerBytes;
  const look = (): void => {
    const bound = nc.info?.max_payload;
    if (bound !== undefined && bound < needed) tell({ max_payload: bound, needed_bytes: needed });
  };
  look();
  void (async () => {
    for await (const { type } of nc.status()) if (type === Events.Reconnect) look();
  })();
}

async function firstConnection(
  connection: ConnectionOptions,
  retry: NonNullable<NatsOptions['retry']>,
  pauseMs: () => number,
): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect(connection);
    } catch (error) {
      const refused = error instanceof NatsError && error.isAuthError();
      if (retry === 'none' || (retry === 'outage' && refused)) throw error;
      await delay(pauseMs());
    }
  }
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

/**
 * Settings that nobody declares and that would lose events, or refuse them, if somebody set one: messages deleted or
 * refused beyond a bound, stored without an acknowledgement or under another subject, or deleted by whoever publishes;
 * durables deleted that nobody pulls.
 */
const unset = {
  max_msgs: -1,
  max_msgs_per_subject: -1,
  max_msg_size: -1,
  discard_new_per_subject: false,
  no_ack: false,
  sealed: false,
  deny_delete: false,
  deny_purge: false,
  allow_rollup_hdrs: false,
  subject_transform: undefined,
  sources: [],
  consumer_limits: {},
} satisfies { [K in keyof StreamConfig]?: StreamConfig[K] | undefined };

/** Fields that the server refuses to change, or to change back. */
const fixed = new Set(['retention', 'storage', 'sealed', 'deny_delete', 'deny_purge']);
/** Limits: a smaller one deletes what is over it. Zero and below mean none. */
const limiting = new Set(['max_age', 'max_bytes']);

const unlimited = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : Infinity);

function mayApply(field: string, declared: unknown, actual: unknown): boolean {
  if (fixed.has(field)) return false;
  return !limiting.has(field) || unlimited(declared) >= unlimited(actual);
}

/** Of a sealed stream the server changes nothing. */
const compare = (declared: Config, actual: StreamConfig): StreamDifference[] =>
  compareSettings({ ...declared, ...unset }, actual, (field, want, have) =>
    actual.sealed ? false : mayApply(field, want, have),
  );

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
  const change = Object.fromEntries(
    Object.entries({ ...declared, ...unset }).filter(([field]) => changes.includes(field)),
  );
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

/** A stream that holds no mark of having been filled up. */
export interface UnmarkedStream {
  readonly name: string;
  /** When it was made, by the server's clock: what tells it from others of its name. */
  readonly created: string;
  /** Since then, by the same clock. */
  readonly ageMs: number;
}

/**
 * Streams that hold no mark of having been filled up: they are new, or were deleted and made again.
 * @throws NatsError when JetStream is away or a stream is missing.
 */
export async function unmarkedStreams(
  nc: NatsConnection,
  names: readonly string[],
): Promise<UnmarkedStream[]> {
  const jsm = await nc.jetstreamManager();
  const unmarked: UnmarkedStream[] = [];
  for (const name of names) {
    const { config, created, ts } = await jsm.streams.info(name);
    if (config.metadata?.[recoveredKey] !== undefined) continue;
    const now = ts === undefined ? Date.now() : Date.parse(ts);
    unmarked.push({ name, created, ageMs: now - Date.parse(created) });
  }
  return unmarked;
}

/**
 * Marks a stream as filled up; the mark lives and dies with it.
 * @throws when the stream was made again meanwhile: that one is not filled up.
 */
export async function markStream(
  nc: NatsConnection,
  { name, created }: Pick<UnmarkedStream, 'name' | 'created'>,
  at: Date,
): Promise<void> {
  const jsm = await nc.jetstreamManager();
  const found = await jsm.streams.info(name);
  if (found.created !== created) throw new Error(`stream ${name} was made again while it was filled up`);
  await jsm.streams.update(name, {
    metadata: { ...found.config.metadata, [recoveredKey]: at.toISOString() },
  });
}
