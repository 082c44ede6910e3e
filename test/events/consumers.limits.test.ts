/** What a server does not take, and what a pool does not give: long letters and few connections. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { headers } from 'nats';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats } from '../../activities/platform/nats.ts';
import { lowBalanceWarning } from '../../contracts/billing/account-watch.events.ts';
import { deadLetterHeaders } from '../../contracts/ops/dead-letter.ts';
import { consumerName } from '../../contracts/streams.ts';
import { heldConnections, openDatabase } from '../../db/client.ts';
import { deadLetterDetailView, getDeadLetterView } from '../../db/ops/dead-letter.views.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { createPolicyReader, type PolicyReader } from '../../db/ops/policy.store.ts';
import { saveAbandoned } from '../../workers/consumers/advisories.ts';
import { notificationSubscriptions } from '../../workers/consumers/ops/notification.consumer.ts';
import { planDurables } from '../../workers/consumers/plan.ts';
import { ConsumerRuntime } from '../../workers/consumers/runtime.ts';
import { RejectedEvent } from '../../workers/consumers/subscription.ts';
import { fastBackoff } from '../harness/lab-consumers.ts';
import {
  lettersOn,
  prepareTrials,
  recording,
  rowsOn,
  sendRaw,
  startingConsumers,
  trialChannel,
  trialMessage,
  trialStreamOf,
  trialStreams,
  untilSettled,
  type TrialChannel,
} from './consuming.ts';
import { openWorld, until, type World } from './fixture.ts';

let world: World;
const start = startingConsumers(() => world);

beforeAll(async () => {
  world = await openWorld('events-limits', 100);
  await prepareTrials(world);
}, 120_000);
afterAll(() => world.close());

/** As long as the server takes it with the headers of the relay; blanks first, so that its beginning is no JSON. */
async function sendLongest(of: TrialChannel): Promise<{ seq: number; eventId: string; bytes: number }> {
  const message = trialMessage(of, 1);
  const bytes = (world.nc.info?.max_payload ?? 0) - 276;
  const extra = headers();
  extra.set('Correlation-Id', message.correlation_id);
  const body = JSON.stringify(message).padStart(bytes);
  const seq = await sendRaw(world, of.subject, body, message.event_id, extra);
  return { seq, eventId: message.event_id, bytes };
}

async function expectCut(of: TrialChannel, sent: { eventId: string; bytes: number }, reason: string) {
  const [row] = await rowsOn(world, of.subject, 1);
  expect(row).toMatchObject({ eventId: sent.eventId, messageKey: sent.eventId, reason, state: 'open' });
  const [letter, ...others] = await lettersOn(world, of.subject);
  expect(others).toEqual([]);
  expect(letter?.headers?.get(deadLetterHeaders.wholeBytes)).toBe(String(sent.bytes));
  const found = await getDeadLetterView(world.db.q, row?.id ?? '');
  if (found === undefined) throw new Error('no letter');
  expect(found.row.isCut).toBe(true);
  expect(deadLetterDetailView(found, (value) => value)).toMatchObject({
    body: null,
    body_bytes: Math.floor(sent.bytes / 2),
    whole_body_bytes: sent.bytes,
    headers: { [deadLetterHeaders.wholeBytes]: String(sent.bytes) },
  });
}

describe('a message that is too long for the DLQ with its headers', () => {
  it('is a letter with the beginning of its body, and operators hear of it', async () => {
    const of = trialChannel('long_letter', { ackWaitSeconds: 5, maxDeliver: 3 });
    const { alerts } = await start([
      recording('billing', of, () => {
        throw new RejectedEvent('invalid_request', 'Never.');
      }),
    ]);
    const sent = await sendLongest(of);
    await expectCut(of, sent, 'rejected');
    await untilSettled(world, 'TRIAL', consumerName('billing', of.subject));
    await until('operators are told', () => alerts.some((one) => one.message.includes(of.subject)));
  });

  it('is one as well when its consumer died with it', async () => {
    const of = trialChannel('long_crash', { ackWaitSeconds: 5, maxDeliver: 3 });
    await start([]);
    const sent = await sendLongest(of);
    const { nc } = world;
    const durables = planDurables([recording('billing', of)], trialStreamOf);
    const advisory = {
      timestamp: new Date(Date.now() + 1000).toISOString(),
      stream: 'TRIAL',
      consumer: consumerName('billing', of.subject),
      stream_seq: sent.seq,
      deliveries: 3,
    };
    await saveAbandoned(
      {
        js: nc.jetstream(),
        jsm: await nc.jetstreamManager(),
        log: pino({ level: 'silent' }),
        durables,
        buried: () => undefined,
      },
      new TextEncoder().encode(JSON.stringify(advisory)),
    );
    await expectCut(of, sent, 'crashed');
  });
});

describe('a pool of one connection', () => {
  it('is enough for deliveries that ask for a policy, though nobody remembers it', async () => {
    const db = openDatabase({ url: world.env('DATABASE_URL'), applicationName: 'one-connection', max: 1 });
    const nc = await connectNats({ url: world.env('NATS_URL'), name: 'one-connection' });
    const cached = createPolicyReader(db.q);
    const held: number[] = [];
    const policies: PolicyReader = {
      get: (key) => {
        held.push(heldConnections());
        cached.refresh();
        return cached.get(key);
      },
      refresh: () => cached.refresh(),
    };
    const notifier = createNotifier(() => Promise.resolve());
    const runtime = new ConsumerRuntime(
      {
        db,
        nc,
        log: pino({ level: 'silent' }),
        subscriptions: notificationSubscriptions({ notifier, policies, publicUrl: undefined }),
        writeDown: () => Promise.resolve(),
        probeTarget: () => Promise.resolve(),
      },
      {
        streams: { environment: 'test', duplicateWindowMs: world.duplicateWindowMs, declared: trialStreams },
        streamOf: trialStreamOf,
        backoff: fastBackoff,
      },
    );
    const userId = randomUUID();
    for (let n = 0; n < 12; n += 1) {
      const eventId = randomUUID();
      const event = {
        event_id: eventId,
        event_type: lowBalanceWarning.subject,
        occurred_at: '2026-01-02T03:04:05.678Z',
        version: lowBalanceWarning.version,
        correlation_id: 'consumers-test',
        payload: { user_id: userId, balance_minor: 499, threshold_minor: 500, currency: 'USD' },
      };
      await sendRaw(world, event.event_type, JSON.stringify(event), eventId);
    }
    await runtime.start();
    const told = async () => {
      const found = await world.db.q.execute(sql`select 1 from notifications where recipient = ${userId}`);
      return found.rows.length;
    };
    await until('all are told', async () => (await told()) === 12);
    expect([...new Set(held)]).toEqual([0]);
    await runtime.stop(2000);
    await nc.close();
    await db.close();
  });
});
