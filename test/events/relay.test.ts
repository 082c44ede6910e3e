import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isNotNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import { subscribeWake, wakeRelay } from '../../activities/platform/redis-wake.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { channel } from '../../contracts/envelope.ts';
import { consumerName } from '../../contracts/streams.ts';
import { rememberEvent } from '../../db/ops/event.store.ts';
import {
  claimPartitions,
  deletePublished,
  markPublished,
  markPublishedEvents,
  outboxLag,
  releasePartitions,
  renewPartitions,
  unpublished,
} from '../../db/ops/outbox.store.ts';
import { maxEventBytes, partitionOf, publish } from '../../db/outbox.ts';
import { outbox } from '../../db/schema.ts';
import { readEventTrail } from '../../workers/relay/trail.ts';
import { dieBeforeMark } from './crashes.ts';
import { openWorld, spawnRelay, startRelay, until, Writer, type LocalRelay, type World } from './fixture.ts';

let world: World;
let relays: LocalRelay[] = [];

const start = async (...options: Parameters<typeof startRelay> extends [unknown, ...infer R] ? R : never) => {
  const started = await startRelay(world, ...options);
  relays.push(started);
  return started;
};

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

const nats = { ackWaitSeconds: 30, maxDeliver: 10 };
/** A channel that no stream stores: publishing on it fails until one does. */
const unrouted = channel({
  subject: 'unrouted.thing',
  messageName: 'UnroutedThing',
  operationId: 'publishUnroutedThing',
  direction: 'publish',
  version: '1.0',
  nats,
  payload: z.strictObject({ id: z.uuid() }),
});

const publishUnrouted = (aggregateId: string): Promise<string> =>
  world.db.tx((tx) =>
    publish(tx, unrouted, {
      payload: { id: aggregateId },
      idempotencyKey: [aggregateId],
      aggregateId,
      aggregateSeq: 1,
      correlationId: 'events-test',
      occurredAt: new Date(),
    }),
  );

const publishText = (aggregateId: string, reason: string): Promise<string> =>
  world.db.tx((tx) =>
    publish(tx, provisioningFailed, {
      payload: { allocation_id: aggregateId, user_id: aggregateId, reason },
      idempotencyKey: [aggregateId],
      aggregateId,
      aggregateSeq: 1,
      correlationId: 'events-test',
      occurredAt: new Date(),
    }),
  );

beforeAll(async () => {
  world = await openWorld('events-relay', 120_000);
}, 120_000);
afterEach(async () => {
  await Promise.all(relays.map((one) => one.stop()));
  relays = [];
});
afterAll(() => world.close());

describe('the relay', { timeout: 120_000 }, () => {
  it('carries each event once, in order, with its headers', async () => {
    await start();
    const writer = new Writer(world);
    const [first = ''] = writer.aggregates(1);
    await writer.commit(first, 3);
    await writer.commitEach(writer.aggregates(20), 5);
    expect(await writer.audit()).toEqual([]);
    const trail = await readEventTrail(world.nc, { entityId: first, expected: 3, timeoutMs: 5000 });
    expect(trail.map((event) => event.envelope.payload['reason'])).toEqual(['1.0', '1.1', '1.2']);
    expect(trail[0]).toMatchObject({
      subject: 'gpuaas.provisioning.failed',
      messageId: trail[0]?.envelope.event_id,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      envelope: { event_type: 'gpuaas.provisioning.failed', version: '1.0', correlation_id: 'events-test' },
    });
  });

  it('is woken by a Redis publish, long before its sweep', async () => {
    const { relay } = await start({ sweepMs: 600_000 });
    let listening = false;
    const subscription = subscribeWake(world.env('REDIS_URL'), (partitions) => {
      listening = true;
      relay.wake(partitions);
    });
    try {
      await until('all partitions are held', () => relay.partitions().length === 8 && listening);
      const writer = new Writer(world);
      const [aggregate = ''] = writer.aggregates(1);
      await writer.commit(aggregate);
      await wakeRelay(world.redis, [partitionOf(aggregate)]);
      expect(await writer.audit()).toEqual([]);
    } finally {
      subscription.close();
    }
  });

  it('shares the partitions fairly, and takes over what a leaving relay gives back', async () => {
    const shares = (): number[] => relays.map((one) => one.relay.partitions().length).sort((a, b) => b - a);
    const first = await start();
    await until('the first holds all', () => first.relay.partitions().length === 8);
    await start();
    await until('two hold half each', () => shares().join() === '4,4');
    const third = await start();
    await until('three share', () => shares().join() === '3,3,2');
    const all = relays.flatMap((one) => one.relay.partitions());
    expect(new Set(all).size).toBe(8);
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(16), 3);
    expect(await writer.audit()).toEqual([]);
    relays = relays.filter((one) => one !== third);
    await third.stop();
    await until('two hold half each again', () => shares().join() === '4,4');
  });

  it('holds back the later events of an aggregate whose publish failed, and no others', async () => {
    const { relay } = await start();
    const writer = new Writer(world);
    const [stuck = ''] = writer.aggregates(1, 3);
    await publishUnrouted(stuck);
    writer.startAt(stuck, 1);
    await writer.commit(stuck);
    const neighbours = writer.aggregates(5, 3);
    await writer.commitEach(neighbours, 2);
    await until('the neighbours are through', async () => (await writer.unmarked()) === 2);
    await until('the failure was repeated', () => relay.counters.failures > 1);
    expect(relay.heldAggregates()).toBe(1);
    expect((await outboxLag(world.db.q, 0)).stuckRows).toBe(2);
    expect(await writer.unmarked()).toBe(2);
    const jsm = await world.nc.jetstreamManager();
    await jsm.streams.add({ name: 'UNROUTED', subjects: ['unrouted.>'] });
    expect(await writer.audit()).toEqual([]);
    expect(relay.heldAggregates()).toBe(0);
    expect((await jsm.streams.info('UNROUTED')).state.messages).toBe(1);
  });

  it('refuses an event that NATS would refuse, when it is written', async () => {
    const writer = new Writer(world);
    const [aggregate = ''] = writer.aggregates(1);
    await expect(publishText(aggregate, 'x'.repeat(maxEventBytes))).rejects.toThrow(/over 900000/);
    expect(await writer.unmarked()).toBe(0);
    await start();
    await publishText(aggregate, 'x'.repeat(maxEventBytes - 1000));
    await until('the largest one passes', async () => (await writer.unmarked()) === 0);
  });

  it('finds in the stream what a relay has stored that died between publish and mark', async () => {
    const writer = new Writer(world);
    await dieBeforeMark(world, writer);
    const { relay } = await start();
    expect(await writer.audit()).toEqual([]);
    expect(relay.counters).toMatchObject({ stored: 0, duplicates: 0, recovered: 1 });
  });

  it('gives its partitions back on SIGTERM', async () => {
    const relay = await spawnRelay(world);
    await until('it holds all', async () => (await relay.metric('gpuaas_outbox_partitions_held')) === 8);
    expect(await relay.end()).toBe(0);
    const held = await world.db.q.execute(sql`select 1 from outbox_partitions where owner is not null`);
    expect(held.rows).toEqual([]);
  });

  it('deletes published rows that are old and that the event log has, and only those', async () => {
    const { relay } = await start();
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(10), 3);
    expect(await writer.audit()).toEqual([]);
    const rows = async (): Promise<number> =>
      (await world.db.q.select({ id: outbox.id }).from(outbox)).length;
    const before = await rows();
    expect(await deletePublished(world.db.q, 60_000_000, 1000)).toBe(0);
    await relay.stop();
    const [late = ''] = writer.aggregates(1);
    await writer.commit(late);
    expect(await deletePublished(world.db.q, 0, 1000)).toBe(0);
    const published = await world.db.q.select().from(outbox).where(isNotNull(outbox.publishedAt));
    for (const { subject, eventId } of published)
      await rememberEvent(world.db.q, consumerName('event-log', subject), eventId);
    expect(await deletePublished(world.db.q, 0, 7)).toBe(7);
    expect(await deletePublished(world.db.q, 0, 1000)).toBe(before - 7);
    expect(await rows()).toBe(1);
  });
});

describe('the leases', { timeout: 120_000 }, () => {
  const long = 60_000;
  const holders = async (): Promise<unknown[]> =>
    (await world.db.q.execute(sql`select owner from outbox_partitions where owner is not null order by 1`))
      .rows;

  it('are claimed once, renewed and given back by their holder alone', async () => {
    const { q } = world.db;
    const mine = await claimPartitions(q, 'one', long, 3);
    const theirs = await claimPartitions(q, 'two', long, 8);
    expect([mine.length, theirs.length]).toEqual([3, 5]);
    expect(await claimPartitions(q, 'three', long, 8)).toEqual([]);
    const stolen = mine.map((lease) => ({ ...lease, owner: 'three' }));
    await releasePartitions(q, stolen);
    expect(await renewPartitions(q, stolen, long)).toEqual([]);
    expect(new Set(await renewPartitions(q, mine, long))).toEqual(
      new Set(mine.map((lease) => lease.partition)),
    );
    await releasePartitions(q, [...mine, ...theirs]);
    expect(await holders()).toEqual([]);
  });

  it('let a former holder neither renew nor mark', async () => {
    const { q } = world.db;
    const writer = new Writer(world);
    const [aggregate = ''] = writer.aggregates(1, 0);
    const eventId = await writer.commit(aggregate);
    const [former] = await claimPartitions(q, 'one', 0, 1);
    const [holder] = await claimPartitions(q, 'two', long, 1);
    if (former === undefined || holder === undefined) throw new Error('nothing was claimed');
    expect(holder).toEqual({ partition: former.partition, owner: 'two', epoch: former.epoch + 1 });
    const ids = (await unpublished(q, 0, 100)).map((row) => row.id);
    expect(ids.length).toBeGreaterThan(0);
    expect(await renewPartitions(q, [former], long)).toEqual([]);
    expect(await markPublished(q, former, ids)).toBe(0);
    expect(await markPublishedEvents(q, former, [eventId])).toBe(0);
    expect(await markPublished(q, holder, ids)).toBe(ids.length);
    await releasePartitions(q, [holder]);
  });

  it('read a gapless prefix of each aggregate, however long the first ones are', async () => {
    const { q } = world.db;
    const writer = new Writer(world);
    const [long1 = '', long2 = '', short = ''] = writer.aggregates(3, 5);
    await writer.commit(long1, 120);
    await writer.commit(long2, 60);
    await writer.commit(short, 2);
    const rows = await unpublished(q, 5, 200);
    const positions = (id: string): number[] =>
      rows.filter((row) => row.aggregateId === id).map((row) => row.position);
    expect([positions(long1), positions(long2), positions(short)]).toEqual([upTo(50), upTo(50), upTo(2)]);
    expect((await unpublished(q, 5, 200, [long1])).some((row) => row.aggregateId === long1)).toBe(false);
    await start();
    expect(await writer.audit()).toEqual([]);
  });
});
