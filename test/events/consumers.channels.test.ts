import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { channels, channelOf, subjects } from '../../contracts/channels.ts';
import type { AnyChannel } from '../../contracts/envelope.ts';
import { consumerName } from '../../contracts/streams.ts';
import { outboxPartitionCount, publish } from '../../db/outbox.ts';
import { deadLetters } from '../../db/schema.ts';
import { mutations, validMessages, type Mutation } from '../contracts/messages.ts';
import { auditEffects } from '../harness/event-auditor.ts';
import { spawnConsumers, type ConsumerProcess } from './consuming.ts';
import { openWorld, startRelay, until, type LocalRelay, type World } from './fixture.ts';

type Json = Mutation['value'];

let world: World;
let relay: LocalRelay;
let consumers: ConsumerProcess;

beforeAll(async () => {
  world = await openWorld('events-channels', 120_000);
  [relay, consumers] = await Promise.all([startRelay(world), spawnConsumers(world)]);
}, 120_000);
afterAll(async () => {
  await consumers.end();
  await relay.stop();
  await world.close();
});

const channel = (subject: string): AnyChannel => {
  const found = channelOf(subject);
  if (found === undefined) throw new Error(`no channel ${subject}`);
  return found;
};

/** Groups other than the log may refuse an event whose allocation does not exist. */
const inLog = async () => {
  const found = await world.db.q.execute<{ consumer: string; event_id: string }>(
    sql`select 'event-log--' || replace(subject, '.', '-') as consumer, event_id from event_log`,
  );
  return found.rows.map((row) => ({ consumer: row.consumer, eventId: row.event_id }));
};

/** Rows as no typed producer writes them: past `publish`, which refuses them. */
async function commitAsTheyAre(subject: string, bodies: readonly Json[]): Promise<void> {
  const ids = bodies.map(() => randomUUID());
  await world.db.q.execute(sql`
    insert into outbox (event_id, subject, aggregate_id, aggregate_seq, partition, body, created_at)
    select id, ${subject}, id, 1, n % ${outboxPartitionCount}, body, gpuaas_now()
    from unnest(${sql.param(ids)}::uuid[], ${sql.param(bodies.map((body) => JSON.stringify(body)))}::jsonb[])
      with ordinality as row (id, body, n)`);
}

describe(`each of the ${channels.length} channels`, () => {
  it('carries every valid message through outbox, relay, JetStream and consumer into the event log', async () => {
    const owed: { consumer: string; eventId: string }[] = [];
    for (const subject of subjects) {
      const samples = validMessages(subject);
      expect(samples.length, subject).toBeGreaterThan(0);
      const eventIds = await world.db.tx(async (tx) => {
        const ids: string[] = [];
        for (const { why, value } of samples) {
          ids.push(
            await publish(tx, channel(subject), {
              payload: value['payload'] as never,
              idempotencyKey: [why],
              aggregateId: randomUUID(),
              aggregateSeq: 1,
              correlationId: 'channels-test',
              occurredAt: new Date(),
            }),
          );
        }
        return ids;
      });
      const consumer = consumerName('event-log', subject);
      owed.push(...eventIds.map((eventId) => ({ consumer, eventId })));
    }
    const wanted = new Set(owed.map((one) => one.eventId));
    await until('the log has them all', async () => (await inLog()).length >= wanted.size);
    expect(auditEffects(owed, await inLog())).toEqual([]);
    expect(new Set(owed.map((one) => one.consumer)).size).toBe(43);
  }, 120_000);

  it('carries mutated messages the same way into the DLQ with their reason, and none of them any further', async () => {
    const before = (await inLog()).length;
    const expected: string[] = [];
    for (const subject of subjects) {
      const broken = brokenMessages(subject);
      expect(broken.length, subject).toBeGreaterThan(4);
      await commitAsTheyAre(
        subject,
        broken.map(({ value }) => value),
      );
      for (const { reason } of broken) expected.push(`${consumerName('event-log', subject)} ${reason} 1`);
    }
    const arrivals = async (): Promise<string[]> => {
      const rows = await world.db.q
        .select()
        .from(deadLetters)
        .where(sql`consumer like 'event-log--%'`);
      return rows.flatMap((row) =>
        row.history.map(({ reason, deliveries }) => `${row.consumer} ${reason} ${deliveries}`),
      );
    };
    await until('the desk has them all', async () => (await arrivals()).length >= expected.length);
    expect((await arrivals()).sort()).toEqual(expected.sort());
    expect((await inLog()).length).toBe(before);
  }, 120_000);
});

/**
 * One mutation of each kind of the subject's own fields; those of the envelope, the same for all, of one subject. All of
 * them are held against the schemas in test/contracts.
 */
function brokenMessages(subject: string): { value: Json; reason: string }[] {
  const kinds = new Set<string>();
  const chosen = mutations(subject).filter(({ kind, why }) => {
    if (!why.includes('payload')) return subject === subjects[0];
    if (kinds.has(kind)) return false;
    kinds.add(kind);
    return true;
  });
  return chosen.map(({ value }) => ({ value: atVersion(value), reason: reasonOf(value, subject) }));
}

/** The source allows any text as version; ours is read by its number. */
function atVersion(value: Json): Json {
  const version: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value, 'version') : undefined;
  return typeof version === 'string' ? Object.assign({}, value, { version: '1.0' }) : value;
}

function reasonOf(value: Json, subject: string): string {
  const type: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value, 'event_type') : undefined;
  return typeof type === 'string' && type !== subject ? 'unknown_type' : 'schema_violation';
}
