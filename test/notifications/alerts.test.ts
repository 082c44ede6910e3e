/** From a committed event to an admin's socket: relay, JetStream, consumers, DLQ, desk, two replicas of the API. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { openRedis } from '../../activities/platform/redis.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { forceReleaseRequested, releaseFailed } from '../../contracts/allocations/allocation.events.ts';
import type { AnyChannel, PayloadOf } from '../../contracts/envelope.ts';
import { reconcileFailed } from '../../contracts/payments/payment-reconciliation.events.ts';
import { consumerName } from '../../contracts/streams.ts';
import { readNow } from '../../db/clock.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { publish } from '../../db/outbox.ts';
import type { ConsumerRuntime } from '../../workers/consumers/runtime.ts';
import { startRelay, type LocalRelay } from '../events/fixture.ts';
import { field, startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { startLabConsumers } from '../harness/lab-consumers.ts';
import type { SocketClient } from '../harness/sockets.ts';
import { enterAlertWindow, lettersOf } from '../ops/letters.ts';
import { startNotices, type Notices, type Person } from './fixture.ts';

const duplicateWindowMs = 120_000;
const [first, second] = [0, 1];

let n: Notices;
let nc: NatsConnection;
let redis: Redis;
let relay: LocalRelay;
let consumers: ConsumerRuntime;
/** Nobody is there: no event here gets as far as the engine. */
const temporal = openTemporal({ address: '127.0.0.1:9', namespace: 'none' });

beforeAll(async () => {
  n = await startNotices({ parts: ['postgres', 'redis', 'nats'], replicas: [{}, {}] });
  const { stack, db, config } = n.h;
  const env = (name: string): string => stack.env[name] ?? '';
  nc = await connectNats({ url: env('NATS_URL'), name: 'alerts-test' });
  await reconcileStreams(nc, { environment: 'test', duplicateWindowMs });
  redis = openRedis(config.redisUrl, 'alerts-test');
  relay = await startRelay({ env, duplicateWindowMs });
  const policies = createPolicyReader(db.q);
  await enterAlertWindow(env('DATABASE_TEST_URL'), await policies.get('dead_letter.alert_window_seconds'), 1);
  consumers = await startLabConsumers({ db, nc, temporal, redis, policies });
}, startTimeoutMs);
afterAll(async () => {
  await consumers?.stop(2000);
  await relay?.stop();
  redis?.disconnect();
  await nc?.close();
  await temporal.connection.close();
  await n?.stop();
}, startTimeoutMs);

/** Commits events as their producers do, each of an aggregate of its own. */
async function commit<C extends AnyChannel>(channel: C, ...payloads: readonly PayloadOf<C>[]): Promise<void> {
  await n.h.db.tx(async (tx) => {
    const occurredAt = await readNow(tx);
    for (const payload of payloads) {
      const aggregateId = randomUUID();
      await publish(tx, channel, {
        payload,
        idempotencyKey: [aggregateId],
        aggregateId,
        aggregateSeq: 1,
        correlationId: 'alerts-test',
        occurredAt,
      });
    }
  });
}

interface Frame {
  readonly severity: string;
  readonly title: string;
  readonly message: string;
}

const framesOf = (client: SocketClient): Frame[] => client.frames.map((frame) => JSON.parse(frame) as Frame);
const titlesOf = (client: SocketClient): string[] => framesOf(client).map(({ title }) => title);

interface Audience {
  readonly user: Person;
  readonly userSocket: SocketClient;
  /** The same admin, at each replica. */
  readonly adminSockets: readonly SocketClient[];
  close(): Promise<void>;
}

async function gather(): Promise<Audience> {
  const [user, admin] = [await n.person(), await n.person(['user', 'admin'])];
  const userSocket = await n.open(user, { replica: second });
  const adminSockets = [await n.open(admin, { replica: first }), await n.open(admin, { replica: second })];
  const all = [userSocket, ...adminSockets];
  return {
    user,
    userSocket,
    adminSockets,
    close: async () => void (await Promise.all(all.map((one) => one.close()))),
  };
}

describe('an admin’s socket', () => {
  it('tells of an event that its consumer gave up, once for a flood, with the query that lists them', async () => {
    const audience = await gather();
    const nobodys = () => ({ user_id: audience.user.id, allocation_ids: [randomUUID()], reason: 'poison' });
    const { subject } = forceReleaseRequested;
    await commit(forceReleaseRequested, nobodys());
    for (const socket of audience.adminSockets) await socket.untilFrames(1);
    const [letter] = await lettersOf(n.h.db, subject);
    const consumer = consumerName('provisioning', subject);
    const told = framesOf(audience.adminSockets[0] as SocketClient)[0];
    expect(told).toMatchObject({ severity: 'error', title: 'An event was given up' });
    expect(told?.message).toContain(`${consumer} gave up ${subject}: rejected (allocation_not_found). `);
    expect(told?.message).toContain(`Dead letter ${letter?.id}.`);
    expect(told?.message).toMatch(/ Correlation id: alerts-test\.$/);

    await commit(forceReleaseRequested, ...Array.from({ length: 30 }, nobodys));
    await until('every letter is written down', async () => (await lettersOf(n.h.db, subject)).length === 31);
    const query = /GET (\S+) lists them/.exec(told?.message ?? '')?.[1] ?? '';
    const listed = await n.h.request('GET', `${query}&limit=100`, { as: 'dev-admin' });
    expect(listed.status).toBe(200);
    expect(field(listed, 'items')).toHaveLength(31);

    // Whatever the flood had raised would stand before this.
    await n.tell(audience.user.id, { title: 'last' });
    await commit(reconcileFailed, payment(audience.user.id));
    await audience.userSocket.untilFrames(2);
    for (const socket of audience.adminSockets) {
      await socket.untilFrames(2);
      expect(titlesOf(socket)).toEqual(['An event was given up', 'A payment does not reconcile']);
    }
    expect(titlesOf(audience.userSocket)).toEqual(['last', 'A payment is being checked']);
    await audience.close();
  });

  it('tells of a release that failed, as does the user’s', async () => {
    const audience = await gather();
    const allocation = randomUUID();
    const reason = 'raw text of a node';
    await commit(releaseFailed, { allocation_id: allocation, user_id: audience.user.id, reason });
    for (const socket of [audience.userSocket, ...audience.adminSockets]) await socket.untilFrames(1);
    expect(titlesOf(audience.userSocket)).toEqual(['Your allocation could not be released']);
    for (const socket of audience.adminSockets) {
      expect(framesOf(socket)).toMatchObject([{ severity: 'error', title: 'A release failed' }]);
      expect(socket.frames[0]).toContain(allocation);
      expect(socket.frames[0]).not.toContain(reason);
    }
    await audience.close();
  });

  it('tells of a payment that does not reconcile, as does the user’s', async () => {
    const audience = await gather();
    const payload = payment(audience.user.id);
    await commit(reconcileFailed, payload);
    for (const socket of [audience.userSocket, ...audience.adminSockets]) await socket.untilFrames(1);
    expect(framesOf(audience.userSocket)).toMatchObject([
      { severity: 'warning', title: 'A payment is being checked' },
    ]);
    for (const socket of audience.adminSockets) {
      expect(framesOf(socket)).toMatchObject([{ severity: 'error', title: 'A payment does not reconcile' }]);
      expect(socket.frames[0]).toContain(payload.payment_session_id);
      expect(socket.frames[0]).not.toContain(payload.stripe_session_id);
    }
    await audience.close();
  });
});

const payment = (userId: string) => ({
  user_id: userId,
  payment_session_id: randomUUID(),
  stripe_session_id: 'cs_test_trial',
  reason: 'the amounts differ',
});
