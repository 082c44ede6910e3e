import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { wakeRelay } from '../../activities/platform/redis-wake.ts';
import { partitionOf } from '../../db/outbox.ts';
import { dieBeforeMark } from './crashes.ts';
import {
  openWorld,
  spawnRelay,
  startRelay,
  until,
  windowPassed,
  Writer,
  type RelayProcess,
  type World,
} from './fixture.ts';

/** So short that the server forgets message ids within a test. */
const duplicateWindowMs = 2000;
let world: World;
let processes: RelayProcess[] = [];

async function spawn(extra: Readonly<Record<string, string>> = {}): Promise<RelayProcess> {
  const started = await spawnRelay(world, extra);
  processes.push(started);
  return started;
}

/** Messages in the stream, cheaply. */
async function messages(): Promise<number> {
  const jsm = await world.nc.jetstreamManager();
  return (await jsm.streams.info('PROVISIONING')).state.messages;
}

beforeAll(async () => {
  world = await openWorld('events-crash', duplicateWindowMs);
}, 120_000);
afterEach(async () => {
  await Promise.all(processes.map((one) => one.kill()));
  processes = [];
});
afterAll(() => world.close());

describe('the relay, when things die', { timeout: 120_000 }, () => {
  it(
    'loses, doubles and reorders nothing while relays are killed at random',
    { timeout: 120_000 },
    async () => {
      await Promise.all([spawn(), spawn()]);
      const writer = new Writer(world);
      const aggregates = writer.aggregates(24);
      for (let kill = 0; kill < 3; kill += 1) {
        const writing = writer.commitEach(aggregates, 12);
        const mark = (await messages()) + Math.floor(Math.random() * 100);
        await until('some more are stored', async () => (await messages()) >= mark);
        const victim = processes.splice(Math.floor(Math.random() * 2), 1)[0];
        await Promise.all([victim?.kill(), spawn(), writing]);
      }
      expect(writer.committed).toHaveLength(24 * 12 * 3);
      expect(await writer.audit()).toEqual([]);
    },
  );

  it('finds in the stream what JetStream has forgotten, when a relay died before the mark', async () => {
    const writer = new Writer(world);
    await dieBeforeMark(world, writer);
    await windowPassed(world);
    const { relay, stop } = await startRelay(world);
    try {
      expect(await writer.audit()).toEqual([]);
      expect(relay.counters).toMatchObject({ stored: 0, duplicates: 0, recovered: 1 });
    } finally {
      await stop();
    }
  });

  it(
    'goes on after NATS was killed in the middle, for longer than it remembers',
    { timeout: 120_000 },
    async () => {
      await Promise.all([spawn(), spawn()]);
      const writer = new Writer(world);
      const aggregates = writer.aggregates(16);
      for (const outageMs of [0, duplicateWindowMs]) {
        const before = await messages();
        const writing = writer.commitEach(aggregates, 15);
        await until('some are stored', async () => (await messages()) > before + 10);
        await world.stack.parts.nats.kill();
        const back = performance.now() + outageMs;
        await writing;
        await until('the outage has lasted', () => performance.now() >= back);
        await world.stack.parts.nats.start();
        await until('all rows are marked', async () => (await writer.unmarked()) === 0);
      }
      expect(await writer.audit()).toEqual([]);
    },
  );

  it('stops a relay that was paused past its lease', async () => {
    const paused = await spawn();
    await until('it holds all', async () => (await paused.metric('gpuaas_outbox_partitions_held')) === 8);
    const writer = new Writer(world);
    await until('it is paused with work in hand', async () => {
      const before = await messages();
      await Promise.all(writer.aggregates(8).map((aggregate) => writer.commit(aggregate, 150)));
      await until('it publishes', async () => (await messages()) > before);
      paused.child.kill('SIGSTOP');
      if ((await writer.unmarked()) > 100) return true;
      paused.child.kill('SIGCONT');
      return false;
    });
    const heir = await spawn();
    await until('the heir is done', async () => (await writer.unmarked()) === 0);
    expect(await heir.metric('gpuaas_outbox_published_total')).toBeGreaterThan(0);
    await windowPassed(world);
    paused.child.kill('SIGCONT');
    await until('it knows', async () => (await paused.metric('gpuaas_outbox_leases_lost_total')) === 8);
    await writer.commitEach(writer.aggregates(8), 2);
    // What lay in the paused process's own buffer goes out when it wakes, and JetStream has forgotten its id by then: a
    // copy after the first, which consumers know: at most one of each aggregate. Nothing is lost or out of order.
    const findings = await writer.audit();
    expect(findings.filter(({ kind }) => kind !== 'twice')).toEqual([]);
    const aggregates = new Set(writer.committed.map(({ aggregateId }) => aggregateId));
    expect(findings.length).toBeLessThanOrEqual(aggregates.size);
  });

  it('sweeps while Redis is away, and is woken when it is back', async () => {
    await world.stack.parts.redis.kill();
    const sweeping = await spawn();
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(4), 2);
    expect(await writer.audit()).toEqual([]);
    await wakeRelay(world.redis, [0]);
    await sweeping.end();
    const listening = await spawn({ OUTBOX_SWEEP_MS: '600000' });
    await until('it holds all', async () => (await listening.metric('gpuaas_outbox_partitions_held')) === 8);
    await world.stack.parts.redis.start();
    await until('the test sees Redis', () => world.redis.status === 'ready');
    await until('the relay listens', async () => (await world.redis.publish('outbox', '0')) === 1);
    const [aggregate = ''] = writer.aggregates(1);
    await writer.commit(aggregate);
    await wakeRelay(world.redis, [partitionOf(aggregate)]);
    expect(await writer.audit()).toEqual([]);
  });
});
