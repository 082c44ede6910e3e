import { z } from 'zod';

const correlationPattern = /^[\x21-\x7e]{1,128}$/;

/** True for 1 to 128 visible ASCII characters; anything else is replaced, not refused. */
export const isCorrelationId = (value: unknown): value is string =>
  typeof value === 'string' && correlationPattern.test(value);

/** An id in a message: all that `format: uuid` allows; `z.uuid()` would refuse versions and variants that it allows. */
export const wireId = z.guid();

/** The payload fields of one channel and where it goes; the source of schema, type, consumer and document. */
export interface Channel<S extends string, P extends z.ZodObject> {
  readonly subject: S;
  readonly messageName: string;
  readonly operationId: string;
  readonly direction: 'publish' | 'subscribe';
  readonly description?: string;
  /** `<major>.<minor>` of the payload. */
  readonly version: string;
  readonly payload: P;
  readonly nats: NatsConfig;
  /** The major version that consumers still read, until its window ends. */
  readonly previous?: PreviousVersion<P>;
}

/** The last major version of a payload and how to read it as the current one; made by `previousVersion`. */
export interface PreviousVersion<P extends z.ZodObject> {
  readonly version: string;
  readonly payload: z.ZodObject;
  /** Day (`YYYY-MM-DD`, UTC) from whose start on the old version is refused. */
  readonly until: string;
  /** The payload in its current form. */
  upgrade(payload: unknown): z.infer<P>;
}

/** Any channel, for code that is generic over them. */
export type AnyChannel = Channel<string, z.ZodObject>;

/** Payload of a channel. */
export type PayloadOf<C extends AnyChannel> = z.infer<C['payload']>;

/** `x-nats-config` of a channel. */
export interface NatsConfig {
  readonly ackWaitSeconds: number;
  readonly maxDeliver: number;
}

/** Delivery of a channel whose consumers answer soon. */
export const usualDelivery: NatsConfig = { ackWaitSeconds: 30, maxDeliver: 10 };
/** Delivery of a channel whose consumers start longer work. */
export const slowDelivery: NatsConfig = { ackWaitSeconds: 45, maxDeliver: 20 };

/** Declares a channel; `dlq_subject` is always `dlq.` + subject. */
export const channel = <S extends string, P extends z.ZodObject>(declared: Channel<S, P>): Channel<S, P> =>
  declared;

/** Declares the version before a breaking change; `upgrade` gets a payload that its schema accepted. */
export const previousVersion = <Q extends z.ZodObject, P extends z.ZodObject>(declared: {
  readonly version: string;
  readonly payload: Q;
  readonly until: string;
  readonly upgrade: (payload: z.infer<Q>) => z.infer<P>;
}): PreviousVersion<P> => ({
  ...declared,
  upgrade: (payload) => declared.upgrade(declared.payload.parse(payload)),
});

/** `dlq.<subject>`. */
export const dlqSubject = (subject: string): string => `dlq.${subject}`;

/** The closed merged message of a channel: envelope and payload (D-0004). */
export const messageSchema = <S extends string, P extends z.ZodObject>(
  of: Pick<Channel<S, P>, 'subject' | 'payload'>,
) =>
  z.strictObject({
    event_id: wireId,
    event_type: z.literal(of.subject),
    occurred_at: z.iso.datetime({ offset: true }),
    version: z.string(),
    correlation_id: z.string(),
    payload: of.payload,
  });

/** A message as it travels, generic over its payload. */
export interface EventEnvelope<P = unknown> {
  readonly event_id: string;
  readonly event_type: string;
  readonly occurred_at: string;
  readonly version: string;
  readonly correlation_id: string;
  readonly payload: P;
}

/** A message of a WebSocket; `payload` says the frame, text as a string and binary as bytes. */
export interface SocketMessage {
  readonly name: string;
  readonly messageId: string;
  readonly contentType?: string;
  readonly payload: z.ZodType;
}

/** What one side of a WebSocket sends; several messages are alternatives. */
export interface SocketOperation {
  readonly operationId: string;
  readonly description: string;
  readonly messages: readonly [SocketMessage, ...SocketMessage[]];
}

/** A WebSocket: `publish` is what clients send, `subscribe` what they receive. */
export interface SocketChannel {
  /** Name of the channel in the document. */
  readonly address: string;
  readonly description: string;
  readonly parameters?: Readonly<
    Record<string, { readonly description: string; readonly schema: z.ZodType }>
  >;
  /** Headers of the handshake with what they carry. */
  readonly headers: Readonly<Record<string, string>>;
  readonly publish?: SocketOperation;
  readonly subscribe?: SocketOperation;
}

/** A binary frame. */
export const binaryFrame = z
  .custom<Uint8Array>((value) => value instanceof Uint8Array)
  .meta({ type: 'string', format: 'binary' });

/** Why a message cannot be read; a repetition changes nothing about it. */
export type UnreadableReason = 'unknown_type' | 'unsupported_version' | 'schema_violation' | 'not_json';

/** What `readMessage` found. `detail` names places and rules, never values. */
export type ReadMessage<C extends AnyChannel> =
  | { readonly ok: true; readonly event: EventEnvelope<PayloadOf<C>> }
  | { readonly ok: false; readonly reason: UnreadableReason; readonly detail: string };

const unreadable = (reason: UnreadableReason, detail: string) => ({ ok: false, reason, detail }) as const;

const maxIssuesTold = 10;
/** Names that may be repeated in a detail; a stranger's key could be anything. */
const tellableName = /^[a-z][a-z0-9_]{0,63}$/;
const tellable = (part: PropertyKey): string =>
  typeof part === 'number' || tellableName.test(String(part)) ? String(part) : '?';

/** `payload.user_id: invalid_format; payload.more: unrecognized_keys`. */
function placesOf(issues: readonly z.core.$ZodIssue[]): string {
  const places = issues.flatMap((issue) => {
    const paths =
      issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((path) => `${path.map(tellable).join('.') || 'message'}: ${issue.code}`);
  });
  const more = places.length - maxIssuesTold;
  return [...places.slice(0, maxIssuesTold), ...(more > 0 ? [`${more} more`] : [])].join('; ');
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value without the members that an issue calls strangers; the value itself is left as it is. */
function withoutStrangers(value: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const copy: unknown = structuredClone(value);
  for (const issue of issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    const holder = issue.path.reduce<unknown>(
      (at, part) => (typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined),
      copy,
    );
    if (isObject(holder)) for (const key of issue.keys) delete holder[key];
  }
  return copy;
}

/** `[major, minor]` of `1.0` (or `1.0.3`); undefined for anything else. */
function parseVersion(version: string): readonly [number, number] | undefined {
  const found = /^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})(?:\.\d{1,6})?$/.exec(version);
  return found === null ? undefined : [Number(found[1]), Number(found[2])];
}

function parseBody(body: string | Uint8Array): unknown {
  try {
    const text = typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body);
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a message with a payload schema; strangers are dropped when a newer minor may have added them. */
function readWith<P extends z.ZodObject>(
  of: { subject: string; payload: P },
  message: unknown,
  newer: boolean,
) {
  const schema = messageSchema(of);
  const strict = schema.safeParse(message);
  if (strict.success || !newer) return strict;
  return schema.safeParse(withoutStrangers(message, strict.error.issues));
}

/** The payload schema that reads a version, and whether the message may hold more than it knows. */
function readerOf(of: AnyChannel, version: string, at: Date | undefined) {
  const [major, minor] = parseVersion(version) ?? [];
  if (major === undefined || minor === undefined) return undefined;
  for (const candidate of [of, of.previous]) {
    const known = candidate === undefined ? undefined : parseVersion(candidate.version);
    if (candidate === undefined || known === undefined || known[0] !== major) continue;
    if ('until' in candidate && at !== undefined && at.getTime() >= Date.parse(candidate.until)) continue;
    return { candidate, newer: minor > known[1] };
  }
  return undefined;
}

/**
 * Reads a message of a channel as a consumer has to. Its own version and older minors: strictly. A newer minor: what
 * this consumer knows is checked, the rest dropped. The previous major: upgraded, until its window ends at `at`
 * (without `at` the window is open). Anything else is told, not thrown.
 */
export function readMessage<C extends AnyChannel>(
  of: C,
  body: string | Uint8Array,
  at?: Date,
): ReadMessage<C> {
  const message = parseBody(body);
  if (message === undefined) return unreadable('not_json', 'the body is no JSON');
  if (!isObject(message)) return unreadable('schema_violation', 'message: invalid_type');
  const { event_type: type, version } = message;
  if (typeof type === 'string' && type !== of.subject)
    return unreadable('unknown_type', `event_type is not ${of.subject}`);
  const reader = typeof version === 'string' ? readerOf(of, version, at) : { candidate: of, newer: false };
  if (reader === undefined)
    return unreadable('unsupported_version', `version is not read beside ${of.version}`);
  const { candidate, newer } = reader;
  const read = readWith({ subject: of.subject, payload: candidate.payload }, message, newer);
  if (!read.success) return unreadable('schema_violation', placesOf(read.error.issues));
  if (!('upgrade' in candidate)) return { ok: true, event: read.data as EventEnvelope<PayloadOf<C>> };
  const payload = of.payload.safeParse(candidate.upgrade(read.data.payload));
  if (!payload.success) return unreadable('schema_violation', `upgraded ${placesOf(payload.error.issues)}`);
  const upgraded = { ...read.data, version: of.version, payload: payload.data };
  return { ok: true, event: upgraded as EventEnvelope<PayloadOf<C>> };
}
