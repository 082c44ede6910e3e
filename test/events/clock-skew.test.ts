import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { openDatabase, type Database } from '../../db/client.ts';
import { claimPartitions, waiting, type Backlog } from '../../db/ops/outbox.store.ts';
import { outboxPartitionCount, partitionOf } from '../../db/outbox.ts';
import { dieBeforeMark } from './crashes.ts';
import {
  openWorld,
  startRelay,
  until,
  windowPassed,
  Writer,
  type LocalRelay,
  type World,
} from './fixture.ts';

/** So short that the server forgets message ids within a test. */
const duplicateWindowMs = 2000;
let world: World;
/** The test role: it alone may move the product's clock. */
let mover: Database;
let relays: LocalRelay[] = [];

const setClock = async (offset: string): Promise<void> => {
  await mover.q.execute(sql`update clock_offset set clock_offset = ${offset}::interval`);
};
const start = async (): Promise<LocalRelay> => {
  const relay = await startRelay(world);
  relays.push(relay);
  return relay;
};

beforeAll(async () => {
  world = await openWorld('events-clock', duplicateWindowMs);
  mover = openDatabase({ url: world.env('DATABASE_TEST_URL'), applicationName: 'clock', max: 1 });
}, 120_000);
afterEach(async () => {
  await Promise.all(relays.map((one) => one.stop()));
  relays = [];
  await setClock('0');
});
afterAll(async () => {
  await mover.close();
  await world.close();
});

/** The backlog of the writer's only row. */
async function waitingOf(writer: Writer): Promise<Backlog> {
  const [event] = writer.committed;
  const backlog = await waiting(world.db.q, partitionOf(event?.aggregateId ?? ''));
  if (backlog === undefined) throw new Error('nothing waits');
  return backlog;
}

const jumps = ['10 minutes', '-10 minutes', '3 days', '-3 days'];

describe('the relay, when the clock jumps', { timeout: 120_000 }, () => {
  it.each(jumps)('by %s: goes on in order, and no lease is lost by it', async (jump) => {
    const [first, second] = [await start(), await start()];
    await until('two hold half each', () =>
      [first, second].every(({ relay }) => relay.partitions().length === 4),
    );
    const writer = new Writer(world);
    const aggregates = writer.aggregates(16);
    await writer.commitEach(aggregates, 5);
    await setClock(jump);
    await writer.commitEach(aggregates, 5);
    await setClock('0');
    await writer.commitEach(aggregates, 5);
    expect(await writer.audit()).toEqual([]);
    expect([first, second].map(({ relay }) => relay.counters.leasesLost)).toEqual([0, 0]);
  });

  it.each(jumps)('by %s after a relay died before its mark: nothing is stored twice', async (jump) => {
    const writer = new Writer(world);
    await dieBeforeMark(world, writer);
    await windowPassed(world);
    await setClock(jump);
    const { relay } = await start();
    expect(await writer.audit()).toEqual([]);
    expect(relay.counters).toMatchObject({ stored: 0, duplicates: 0, recovered: 1 });
  });

  it('back until the row looks just written, after a relay died before its mark: nothing is stored twice', async () => {
    const writer = new Writer(world);
    await dieBeforeMark(world, writer);
    await windowPassed(world);
    const age = (await waitingOf(writer)).oldestAgeMs;
    await setClock(`-${age - 1} milliseconds`);
    // As young as can be, but born.
    const seen = await waitingOf(writer);
    expect(seen.oldestAgeMs).toBeGreaterThan(0);
    expect(seen.oldestAgeMs).toBeLessThan(duplicateWindowMs / 2);
    const { relay } = await start();
    expect(await writer.audit()).toEqual([]);
    expect(relay.counters).toMatchObject({ stored: 0, duplicates: 0, recovered: 1 });
  });

  it('back by more than a lease: those of a dead relay are taken all the same', async () => {
    await world.db.q.execute(
      sql`update outbox_partitions set owner = 'dead', expires_at = clock_timestamp() + interval '10 minutes'`,
    );
    const live = await claimPartitions(world.db.q, 'a', 600_000, 1);
    expect(live).toEqual([]);
    const { relay } = await start();
    await until('all are held', () => relay.partitions().length === outboxPartitionCount);
  });
});
