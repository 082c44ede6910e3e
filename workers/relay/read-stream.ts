import { AckPolicy, DeliverPolicy, nanos, type Consumer, type JsMsg, type NatsConnection } from 'nats';

export interface ReadOptions {
  readonly stream: string;
  readonly subjects: readonly string[];
  /** Only what was stored within the last so many ms; everything when left out. */
  readonly sinceMs?: number;
  readonly headersOnly?: boolean;
  /** Goes on after the stream's end of now, until this instant of the monotonic clock. */
  readonly followUntil?: number;
  /** Longest wait for an answer of JetStream's API; 5 s by default. */
  readonly timeoutMs?: number;
}

const chunk = 500;
const waitMs = 2000;
/** Shortest wait that the client accepts. */
const minimumWaitMs = 1000;
const consumerLifeMs = 30_000;

/**
 * Reads stored messages in order, without acknowledging anything, in batches that are never empty. The consumer behind
 * it lives in memory, is deleted at the end, and by the server when this process dies.
 * @throws NatsError when JetStream is away.
 */
export async function* readStream(
  nc: NatsConnection,
  options: ReadOptions,
): AsyncGenerator<readonly JsMsg[]> {
  const api = options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs };
  const jsm = await nc.jetstreamManager(api);
  const { name, num_pending } = await jsm.consumers.add(options.stream, {
    ack_policy: AckPolicy.None,
    deliver_policy: options.sinceMs === undefined ? DeliverPolicy.All : DeliverPolicy.StartTime,
    ...(options.sinceMs === undefined
      ? {}
      : { opt_start_time: new Date(Date.now() - options.sinceMs).toISOString() }),
    filter_subjects: [...options.subjects],
    headers_only: options.headersOnly ?? false,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: nanos(consumerLifeMs),
  });
  const consumer = await nc.jetstream(api).consumers.get(options.stream, name);
  try {
    for (let pending = num_pending; ;) {
      const leftMs = (options.followUntil ?? 0) - performance.now();
      if (pending === 0 && leftMs <= 0) return;
      const batch =
        pending > 0
          ? await fetchBatch(consumer, Math.min(chunk, pending), waitMs)
          : await fetchBatch(consumer, 1, Math.max(minimumWaitMs, Math.min(leftMs, waitMs)));
      const last = batch.at(-1);
      if (last === undefined && pending > 0) throw new Error(`stream ${options.stream} stopped delivering`);
      if (last === undefined) continue;
      pending = last.info.pending;
      yield batch;
    }
  } finally {
    // Without a server the consumer is gone in half a minute anyway.
    await consumer.delete().catch(() => false);
  }
}

async function fetchBatch(consumer: Consumer, max: number, expires: number): Promise<JsMsg[]> {
  const batch: JsMsg[] = [];
  for await (const message of await consumer.fetch({ max_messages: max, expires })) batch.push(message);
  return batch;
}
