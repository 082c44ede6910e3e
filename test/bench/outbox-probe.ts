/** From the commit of an outbox row to its arrival at a JetStream consumer. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { AckPolicy, DeliverPolicy, type NatsConnection } from 'nats';
import { openRedis } from '../../activities/platform/redis.ts';
import { wakeRelay } from '../../activities/platform/redis-wake.ts';
import { provisioningActive, provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { streams } from '../../contracts/streams.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { partitionOf, publish } from '../../db/outbox.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { sampleEvent } from '../harness/sample-event.ts';

const arrivalDeadlineMs = 10_000;
const connectDeadlineMs = 5000;

/** Listens on the stream; knows when each event arrived. */
export class OutboxProbe {
  readonly #db: Database;
  readonly #redis: ReturnType<typeof openRedis>;
  readonly #waiting = new Map<string, () => void>();
  /** Arrivals of `active` events, in ms since the epoch, by event id. */
  readonly #active = new Map<string, number>();

  private constructor(env: Readonly<Record<string, string>>) {
    this.#db = openDatabase({ url: env['DATABASE_URL'] ?? '', applicationName: 'bench', max: 2 });
    this.#redis = openRedis(env['REDIS_URL'] ?? '', 'bench');
  }

  static async open(env: Readonly<Record<string, string>>, nats: NatsConnection): Promise<OutboxProbe> {
    const probe = new OutboxProbe(env);
    const stream = streams[0].name;
    // A durable with explicit acknowledgements, as every consumer of the product is.
    const jsm = await nats.jetstreamManager();
    await jsm.consumers.add(stream, {
      durable_name: 'bench-probe',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.New,
      filter_subjects: [provisioningFailed.subject, provisioningActive.subject],
    });
    const consumer = await nats.jetstream().consumers.get(stream, 'bench-probe');
    await consumer.consume({
      callback: (message) => {
        const { event_id: id, event_type: type } = message.json<{ event_id: string; event_type: string }>();
        message.ack();
        probe.#waiting.get(id)?.();
        if (type === provisioningActive.subject) probe.#active.set(id, Date.now());
      },
    });
    await waitUntil(() => probe.#redis.status === 'ready', {
      deadlineMs: connectDeadlineMs,
      onTimeout: () => 'the probe cannot reach Redis',
    });
    return probe;
  }

  /** Commits one event of an aggregate of its own, wakes the relay as the activities do, waits for it: ms since commit. */
  async once(): Promise<number> {
    const aggregateId = randomUUID();
    let arrivedAt: number | undefined;
    const eventId = await this.#db.tx(async (tx) => {
      const id = await publish(tx, provisioningFailed, sampleEvent(aggregateId, 1));
      // Known before the commit: the event may be faster than the commit's answer.
      this.#waiting.set(id, () => (arrivedAt = performance.now()));
      return id;
    });
    const committedAt = performance.now();
    await wakeRelay(this.#redis, [partitionOf(aggregateId)]);
    await waitUntil(() => arrivedAt !== undefined, {
      deadlineMs: arrivalDeadlineMs,
      pollMs: 1,
      onTimeout: () => `event ${eventId} did not arrive`,
    });
    this.#waiting.delete(eventId);
    return (arrivedAt ?? committedAt) - committedAt;
  }

  /** Of every `active` event since the last call: from its row's instant (within the transaction) to its arrival, in ms. */
  async sinceWritten(): Promise<number[]> {
    const arrived = new Map(this.#active);
    this.#active.clear();
    const ids = [...arrived.keys()];
    if (ids.length === 0) return [];
    const rows = await this.#db.q.execute<{ event_id: string; ms: string }>(sql`
      select event_id, extract(epoch from created_at) * 1000 as ms from outbox
      where event_id = any(${sql.param(ids)}::uuid[])`);
    return rows.rows.map((row) => (arrived.get(row.event_id) ?? NaN) - Number(row.ms));
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    await this.#db.close();
  }
}
