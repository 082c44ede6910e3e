import { ErrorCode, Events, headers, NatsError } from 'nats';
import type { JetStreamClient, JetStreamManager, NatsConnection } from 'nats';
import { currentTraceparent, withRemoteParent } from '../../activities/platform/tracing.ts';
import type { OutboxRow } from '../../db/ops/outbox.store.ts';
import { PublishError, correlationOf, type EventSink, type PeerChannel, type PeerNotice } from './ports.ts';
import { readStream } from './read-stream.ts';

const publishTimeoutMs = 2000;
/** How long a stream may take for an answer before it counts as one that cannot be read. */
const searchTimeoutMs = 2000;
const messageIdHeader = 'Nats-Msg-Id';
const noMatchingStream = '404';

const encoder = new TextEncoder();

function failureOf(error: unknown): PublishError {
  if (!(error instanceof NatsError)) return new PublishError('unknown', error);
  // 503: nobody listens on the subject. An API error: JetStream's own refusal.
  const refused =
    error.code === '503' || error.code === ErrorCode.MaxPayloadExceeded || error.api_error !== undefined;
  return new PublishError(refused ? 'refused' : 'unknown', error);
}

/** JetStream as the relay sees it; knows at once when the connection goes and comes. */
export class JetStreamSink implements EventSink {
  private readonly nc: NatsConnection;
  private readonly js: JetStreamClient;
  private jsm: JetStreamManager | undefined;
  private up = true;
  private readonly inFlight = new Set<(error: PublishError) => void>();
  private readonly listeners: (() => void)[] = [];

  constructor(nc: NatsConnection) {
    this.nc = nc;
    this.js = nc.jetstream({ timeout: publishTimeoutMs });
    void this.follow();
    void nc.closed().then(() => this.down());
  }

  private async follow(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === Events.Disconnect) this.down();
      if (status.type !== Events.Reconnect) continue;
      this.up = true;
      for (const listener of this.listeners) listener();
    }
  }

  private down(): void {
    this.up = false;
    for (const fail of this.inFlight) fail(new PublishError('disconnected'));
    this.inFlight.clear();
  }

  isUp(): boolean {
    return this.up && !this.nc.isClosed();
  }

  onUp(listener: () => void): void {
    this.listeners.push(listener);
  }

  async publish(row: OutboxRow): Promise<{ duplicate: boolean }> {
    // Never into the client's buffer: it would be sent whenever the connection returns, long after it was given up.
    if (!this.isUp()) throw new PublishError('disconnected');
    return new Promise((resolve, reject) => {
      this.inFlight.add(reject);
      this.traced(row)
        .then(resolve, (error: unknown) => reject(failureOf(error)))
        .finally(() => this.inFlight.delete(reject));
    });
  }

  /** In the trace of what the event tells of; whoever consumes it goes on below this publish. */
  private traced(row: OutboxRow): Promise<{ duplicate: boolean }> {
    const attributes = {
      'messaging.system': 'nats',
      'messaging.destination.name': row.subject,
      'messaging.message.id': row.eventId,
      'gpuaas.correlation_id': correlationOf(row) ?? 'none',
    };
    const span = { name: `publish ${row.subject}`, attributes, kind: 'producer' } as const;
    return withRemoteParent(row.traceparent, span, () => this.send(row));
  }

  private async send(row: OutboxRow): Promise<{ duplicate: boolean }> {
    const extra = headers();
    const correlationId = correlationOf(row);
    if (correlationId !== undefined) extra.set('Correlation-Id', correlationId);
    const traceparent = currentTraceparent() ?? row.traceparent;
    if (traceparent !== null) extra.set('traceparent', traceparent);
    const body = encoder.encode(JSON.stringify(row.body));
    const ack = await this.js.publish(row.subject, body, { msgID: row.eventId, headers: extra });
    return { duplicate: ack.duplicate };
  }

  async storedSince(
    subjects: readonly string[],
    sinceMs: number,
    handle: (eventIds: readonly string[]) => Promise<void>,
  ): Promise<readonly string[]> {
    const unread: string[] = [];
    const byStream = new Map<string, string[]>();
    const located = subjects.map(async (subject) => {
      try {
        const stream = await this.streamOf(subject);
        if (stream !== undefined) byStream.set(stream, [...(byStream.get(stream) ?? []), subject]);
      } catch {
        unread.push(subject);
      }
    });
    await Promise.all(located);
    const reads = [...byStream].map(async ([stream, filter]) => {
      if (!(await this.readIds(stream, filter, sinceMs, handle))) unread.push(...filter);
    });
    // All have ended before the first failure is told: nothing is handed over afterwards.
    const failed = (await Promise.allSettled(reads)).find((read) => read.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return unread;
  }

  /** @returns whether the stream could be read to its end; throws what `handle` throws. */
  private async readIds(
    stream: string,
    subjects: readonly string[],
    sinceMs: number,
    handle: (eventIds: readonly string[]) => Promise<void>,
  ): Promise<boolean> {
    const options = { stream, subjects, sinceMs, headersOnly: true, timeoutMs: searchTimeoutMs };
    const batches = readStream(this.nc, options);
    try {
      for (;;) {
        const next = await batches.next().catch(() => undefined);
        if (next === undefined) return false;
        if (next.done === true) return true;
        const ids = next.value.map((message) => message.headers?.get(messageIdHeader) ?? '');
        await handle(ids.filter((id) => id !== ''));
      }
    } finally {
      await batches.return(undefined);
    }
  }

  private async streamOf(subject: string): Promise<string | undefined> {
    this.jsm ??= await this.nc.jetstreamManager({ timeout: searchTimeoutMs });
    try {
      return await this.jsm.streams.find(subject);
    } catch (error) {
      if (error instanceof NatsError && error.code === noMatchingStream) return undefined;
      if (error instanceof Error && error.message === 'no stream matches subject') return undefined;
      throw error;
    }
  }
}

const presenceSubject = 'outbox-relay.presence';

/** Notices between relays over plain NATS; lost ones do no harm. */
export class NatsPeers implements PeerChannel {
  private readonly nc: NatsConnection;
  private readonly sink: EventSink;

  constructor(nc: NatsConnection, sink: EventSink) {
    this.nc = nc;
    this.sink = sink;
  }

  announce(notice: PeerNotice): void {
    if (this.sink.isUp()) this.nc.publish(presenceSubject, JSON.stringify(notice));
  }

  onNotice(listener: (notice: PeerNotice) => void): void {
    this.nc.subscribe(presenceSubject, {
      callback: (error, message) => {
        const notice = error === null ? parseNotice(message.string()) : undefined;
        if (notice !== undefined) listener(notice);
      },
    });
  }
}

function parseNotice(text: string): PeerNotice | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const [owner, kind]: unknown[] = [Reflect.get(value, 'owner'), Reflect.get(value, 'kind')];
    const known = kind === 'alive' || kind === 'leaving' || kind === 'freed';
    return typeof owner === 'string' && known ? { owner, kind } : undefined;
  } catch {
    return undefined;
  }
}
