import type { JsMsg, NatsConnection } from 'nats';
import type { EventEnvelope } from '../../contracts/envelope.ts';
import { streams } from '../../contracts/streams.ts';
import { readStream } from './read-stream.ts';

/** One stored event as it was read back. */
export interface TrailEvent {
  readonly stream: string;
  /** Place in the stream. */
  readonly seq: number;
  readonly subject: string;
  /** `Nats-Msg-Id`. */
  readonly messageId: string;
  readonly traceparent: string | undefined;
  readonly envelope: EventEnvelope<Readonly<Record<string, unknown>>>;
}

export interface TrailOptions {
  /** An id that the payload holds in any field, alone or in a list; every event when left out. */
  readonly entityId?: string;
  /** Waits until there are this many; without it, reads to the stream's end of now. */
  readonly expected?: number;
  /** Longest wait for `expected`. */
  readonly timeoutMs: number;
  readonly stream?: string;
  readonly subjects?: readonly string[];
}

/**
 * Reads events back from JetStream in the order of the stream, each stored message once (also a stored duplicate).
 * @returns what was found, fewer than `expected` when the time ran out.
 */
export async function readEventTrail(nc: NatsConnection, options: TrailOptions): Promise<TrailEvent[]> {
  const { entityId, expected } = options;
  const stream = options.stream ?? streams[0].name;
  const subjects = options.subjects ?? streams.find((one) => one.name === stream)?.subjects ?? ['>'];
  const follow = expected === undefined ? {} : { followUntil: performance.now() + options.timeoutMs };
  const found: TrailEvent[] = [];
  for await (const batch of readStream(nc, { stream, subjects, ...follow })) {
    const events = batch.map((message) => read(stream, message));
    found.push(
      ...events.filter((event) => entityId === undefined || mentions(event.envelope.payload, entityId)),
    );
    if (expected !== undefined && found.length >= expected) break;
  }
  return found;
}

function read(stream: string, message: JsMsg): TrailEvent {
  return {
    stream,
    seq: message.seq,
    subject: message.subject,
    messageId: message.headers?.get('Nats-Msg-Id') ?? '',
    traceparent: message.headers?.get('traceparent') || undefined,
    envelope: message.json<TrailEvent['envelope']>(),
  };
}

const mentions = (payload: Readonly<Record<string, unknown>>, id: string): boolean =>
  Object.values(payload).some((value) => value === id || (Array.isArray(value) && value.includes(id)));
