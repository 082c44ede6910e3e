/** The life of a dead letter through the whole platform: given up, told, mended, replayed, resolved; or back again. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { provisioningActive, provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import { publish } from '../../db/outbox.ts';
import { readNow } from '../../db/clock.ts';
import type { DeadLetterRow } from '../../db/ops/dead-letter.schema.ts';
import { deadLetters } from '../../db/schema.ts';
import { spawnConsumers, type ConsumerProcess } from '../events/consuming.ts';
import { field, startTimeoutMs } from '../harness/api.ts';
import { queryAs } from '../harness/database.ts';
import { startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { asAdmin, plantLetters, resentOn, untilReplay } from './letters.ts';

let lab: Lab;
let consumers: ConsumerProcess;
const subject = provisioningActive.subject;
const reason = 'the cause is mended';

beforeAll(async () => {
  // Every letter is told of: these tests follow one after the other.
  lab = await startLab({ nodes: [], policies: { 'dead_letter.alert_window_seconds': 0 } });
  const { stack } = lab.api;
  const env = (name: string): string => stack.env[name] ?? '';
  const world = { stack, db: lab.db, nc: lab.nc, redis: lab.redis, env };
  consumers = await spawnConsumers({ ...world, duplicateWindowMs: 120_000, close: () => Promise.resolve() });
}, startTimeoutMs);
afterEach(() => mended());
afterAll(async () => {
  await consumers?.end();
  await lab?.stop();
}, startTimeoutMs);

const owner = (text: string) => queryAs(lab.api.stack.env['DATABASE_OWNER_URL'] ?? '', text);

/** Billing cannot write what it has to, for one allocation; nobody else is touched. */
async function broken(allocationId: string): Promise<void> {
  await owner(`create function refuse_metering() returns trigger language plpgsql as $$
    begin raise exception 'metering is broken'; end $$`);
  await owner(`create trigger refuse_metering before insert on metered_allocations for each row
    when (new.allocation_id = '${allocationId}') execute function refuse_metering()`);
}

async function mended(): Promise<void> {
  await owner('drop trigger if exists refuse_metering on metered_allocations');
  await owner('drop function if exists refuse_metering');
}

async function activate(allocationId: string): Promise<string> {
  return await lab.db.tx(async (tx) => {
    const at = await readNow(tx);
    return await publish(tx, provisioningActive, {
      payload: {
        allocation_id: allocationId,
        user_id: subjectOf('dev-user'),
        node_id: randomUUID(),
        active_at: at.toISOString(),
      },
      idempotencyKey: [allocationId],
      aggregateId: allocationId,
      aggregateSeq: 1,
      correlationId: `life-${allocationId}`,
      occurredAt: at,
    });
  });
}

async function untilLetter(
  messageKey: string,
  group: string,
  holds: (row: DeadLetterRow) => boolean = () => true,
): Promise<DeadLetterRow> {
  let row: DeadLetterRow | undefined;
  await until(
    `the letter of ${group}`,
    async () => {
      [row] = await lab.db.q
        .select()
        .from(deadLetters)
        .where(sql`message_key = ${messageKey} and consumer_group = ${group}`);
      return row !== undefined && holds(row);
    },
    { state: () => row },
  );
  return row as DeadLetterRow;
}

const count = async (query: ReturnType<typeof sql>): Promise<number> =>
  (await lab.db.q.execute(query)).rows.length;
const consumed = (eventId: string) => sql`select 1 from consumed_events where event_id = ${eventId}::uuid`;
const metered = (id: string) => sql`select 1 from metered_allocations where allocation_id = ${id}::uuid`;
const alerts = (letterId: string) =>
  sql`select 1 from notifications where recipient = ${operatorsRecipient}::uuid and message like ${`%${letterId}%`}`;

describe('a dead letter', () => {
  it('of an effect that failed: operators hear of it, and once it is mended a replay makes the effect, once', async () => {
    const allocationId = randomUUID();
    await broken(allocationId);
    const eventId = await activate(allocationId);
    const letter = await untilLetter(eventId, 'billing');
    expect(letter).toMatchObject({
      reason: 'exhausted',
      state: 'open',
      deliveries: provisioningActive.nats.maxDeliver,
    });
    await until('operators are told', async () => (await count(alerts(letter.id))) === 1);
    // The groups that did not fail: the log and the user's notification.
    await until('the others have it', async () => (await count(consumed(eventId))) === 2);
    await mended();
    const made = await asAdmin(lab, 'POST', `dead-letters/${letter.id}/replay`, { body: { reason } });
    expect(made.status).toBe(201);
    await untilReplay(lab, String(field(made, 'id')), 'completed');
    await until('it is resolved', async () => {
      const seen = await asAdmin(lab, 'GET', `dead-letters/${letter.id}`);
      return field(seen, 'resolved') === true;
    });
    expect(await count(metered(allocationId))).toBe(1);
    expect(await count(consumed(eventId))).toBe(3);
    const [message, ...more] = (await resentOn(lab.nc, subject)).filter((one) =>
      one.messageId.startsWith(eventId),
    );
    expect(more).toEqual([]);
    expect(message).toMatchObject({ attempt: '1', correlationId: `life-${allocationId}` });
    expect(message?.body).toBe(letter.body.toString());
    expect(await asAdmin(lab, 'GET', `dead-letters/${letter.id}`)).toMatchObject({
      body: { state: 'replayed', arrivals: 1, replays: 1 },
    });
    const logged = await asAdmin(lab, 'GET', `events?correlation_id=life-${allocationId}`);
    expect(field(logged, 'items')).toMatchObject([{ event_id: eventId, event_type: subject }]);
  });

  it('whose cause stands comes back open, with its history, and is told again', async () => {
    const allocationId = randomUUID();
    await broken(allocationId);
    const eventId = await activate(allocationId);
    const { id } = await untilLetter(eventId, 'billing');
    for (const attempt of [1, 2]) {
      const made = await asAdmin(lab, 'POST', `dead-letters/${id}/replay`, { body: { reason } });
      await untilReplay(lab, String(field(made, 'id')), 'completed');
      await untilLetter(eventId, 'billing', (row) => row.arrivals === attempt + 1 && row.replays === attempt);
    }
    const seen = await asAdmin(lab, 'GET', `dead-letters/${id}`);
    expect(seen.body).toMatchObject({ state: 'open', resolved: false, arrivals: 3, replays: 2 });
    expect(field(seen, 'history')).toMatchObject(Array.from({ length: 3 }, () => ({ reason: 'exhausted' })));
    await until('operators are told each time', async () => (await count(alerts(id))) === 3);
    expect(await count(metered(allocationId))).toBe(0);
    await mended();
    const body = { filter: { subject, consumer: 'billing--gpuaas-provisioning-active' }, reason };
    const made = await asAdmin(lab, 'POST', 'dlq-replays', { body });
    await untilReplay(lab, String(field(made, 'id')), 'completed');
    await until('the effect is there', async () => (await count(metered(allocationId))) === 1);
  });

  it('and a logged event are shown whatever version of uuid their ids have', async () => {
    // One in each place of the message, none of which names a version or a variant of RFC 9562.
    const ones = (text: string) => text.replaceAll('x', '11111111-1111-1111-1111');
    const [eventId, badId] = [ones('x-11111111111a'), ones('x-11111111111b')];
    const payload = {
      allocation_id: ones('x-11111111111c'),
      user_id: ones('x-11111111111d'),
      reason: 'none',
    };
    const good = {
      event_id: eventId,
      event_type: provisioningFailed.subject,
      occurred_at: '2026-01-02T03:04:05Z',
      version: provisioningFailed.version,
      correlation_id: 'life-of-ones',
      payload,
    };
    for (const message of [good, { ...good, event_id: badId, payload: {} }])
      await lab.nc.jetstream().publish(provisioningFailed.subject, JSON.stringify(message));
    const { id } = await untilLetter(badId, 'event-log');
    await until('both groups have it', async () => (await count(consumed(eventId))) === 2);
    expect(await asAdmin(lab, 'GET', 'events?correlation_id=life-of-ones')).toMatchObject({
      status: 200,
      body: { items: [{ event_id: eventId, payload }] },
    });
    const query = `dead-letters?subject=${provisioningFailed.subject}&consumer=event-log--gpuaas-provisioning-failed`;
    expect(await asAdmin(lab, 'GET', query)).toMatchObject({ status: 200, body: { items: [{ id }] } });
    const shown = { id, event_id: badId };
    expect(await asAdmin(lab, 'GET', `dead-letters/${id}`)).toMatchObject({ status: 200, body: shown });
    expect(await asAdmin(lab, 'POST', `dead-letters/${id}/discard`, { body: { reason } })).toMatchObject({
      status: 200,
      body: { ...shown, state: 'discarded' },
    });
  });

  it('whose body was cut is refused by a replay (409), passed by when many are replayed, and can be discarded', async () => {
    const subject = 'trial.cut';
    const [id] = await plantLetters(lab.db, subject, 1, {
      body: Buffer.from('{"event'),
      wholeBytes: 1_048_300,
    });
    expect(await asAdmin(lab, 'GET', `dead-letters/${id}`)).toMatchObject({
      body: {
        body: null,
        body_bytes: 7,
        whole_body_bytes: 1_048_300,
        headers: { 'Gpuaas-Dlq-Whole-Bytes': '1048300' },
      },
    });
    expect(await asAdmin(lab, 'POST', `dead-letters/${id}/replay`, { body: { reason } })).toMatchObject({
      status: 409,
      body: { code: 'dead_letter_not_replayable' },
    });
    const many = await asAdmin(lab, 'POST', 'dlq-replays', {
      body: { filter: { subject }, dry_run: true, reason },
    });
    expect(many).toMatchObject({ status: 201, body: { matched: 0 } });
    expect((await asAdmin(lab, 'POST', `dead-letters/${id}/discard`, { body: { reason } })).status).toBe(200);
  });

  it('that no consumer can read is open for each of them, and a replay asks only one of them again', async () => {
    const eventId = randomUUID();
    const message = { event_id: eventId, event_type: subject, version: '1.0', payload: {} };
    await lab.nc.jetstream().publish(subject, JSON.stringify(message));
    const groups = ['billing', 'event-log', 'notification-relay'];
    const letters = await Promise.all(groups.map((group) => untilLetter(eventId, group)));
    expect(letters.map((letter) => letter.reason)).toEqual(groups.map(() => 'schema_violation'));
    const [billing] = letters;
    await asAdmin(lab, 'POST', `dead-letters/${billing?.id}/replay`, { body: { reason } });
    await untilLetter(eventId, 'billing', (row) => row.arrivals === 2 && row.state === 'open');
    for (const group of ['event-log', 'notification-relay']) {
      expect(await untilLetter(eventId, group)).toMatchObject({ arrivals: 1, replays: 0 });
    }
  });
});
