import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { AckPolicy } from 'nats';
import { z } from 'zod';
import { connectNats } from '../../activities/platform/nats.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { channel } from '../../contracts/envelope.ts';
import { openDatabase } from '../../db/client.ts';
import type { OutboxRow } from '../../db/ops/outbox.store.ts';
import { outboxPartitionCount, publish } from '../../db/outbox.ts';
import { JetStreamSink, NatsPeers } from '../../workers/relay/jetstream.ts';
import { PublishError, type EventSink } from '../../workers/relay/ports.ts';
import { Relay, type RelayOptions } from '../../workers/relay/relay.ts';
import { leaseMs, openWorld, until, windowPassed, Writer, type World } from './fixture.ts';

/** So short that the server forgets message ids within a test; a relay that is told so searches after half of it. */
const duplicateWindowMs = 2000;
/** With this one, no test lasts long enough for a search of a row that got no answer. */
const longWindowMs = 600_000;
const clockSlackMs = 60_000;
const partition = 3;
const moodySubject = 'moody.thing';
const moody = channel({
  subject: moodySubject,
  messageName: 'MoodyThing',
  operationId: 'publishMoodyThing',
  direction: 'publish',
  version: '1.0',
  nats: { ackWaitSeconds: 30, maxDeliver: 10 },
  payload: z.strictObject({ id: z.uuid() }),
});

type Mood =
  | 'fine'
  /** Answers nothing until the test gives up for it; nothing is stored. */
  | 'silent'
  /** No answer, and nothing is stored; known at once. */
  | 'lost'
  /** Stored, but the answer is lost. */
  | 'mute'
  | 'refusing';

/** JetStream, with one subject whose stream is out of sorts. */
class MoodySink implements EventSink {
  mood: Mood = 'fine';
  readable = true;
  published = 0;
  readonly searches: { subjects: readonly string[]; sinceMs: number; at: number }[] = [];
  private readonly waiting = new Set<(error: PublishError) => void>();
  private readonly real: JetStreamSink;

  constructor(real: JetStreamSink) {
    this.real = real;
  }

  isUp(): boolean {
    return this.real.isUp();
  }

  onUp(listener: () => void): void {
    this.real.onUp(listener);
  }

  async publish(row: OutboxRow): Promise<{ duplicate: boolean }> {
    if (row.subject !== moodySubject) return this.real.publish(row);
    this.published += 1;
    if (this.mood === 'refusing') throw new PublishError('refused');
    if (this.mood === 'lost') throw new PublishError('unknown');
    if (this.mood === 'silent') return new Promise((_, reject) => this.waiting.add(reject));
    const answer = await this.real.publish(row);
    if (this.mood === 'mute') throw new PublishError('unknown');
    return answer;
  }

  /** Publishes that wait for an answer. */
  unanswered(): number {
    return this.waiting.size;
  }

  /** Time is up for all that wait. */
  giveUp(): void {
    for (const reject of this.waiting) reject(new PublishError('unknown'));
    this.waiting.clear();
  }

  async storedSince(...[subjects, sinceMs, handle]: Parameters<EventSink['storedSince']>) {
    this.searches.push({ subjects, sinceMs, at: performance.now() });
    const unread: string[] = this.readable ? [] : subjects.filter((subject) => subject === moodySubject);
    const readable = subjects.filter((subject) => !unread.includes(subject));
    return [...unread, ...(await this.real.storedSince(readable, sinceMs, handle))];
  }
}

interface Started {
  readonly relay: Relay;
  readonly sink: MoodySink;
  readonly real: JetStreamSink;
  /** Numbers of the failed attempts by event id, as they were logged. */
  readonly attempts: ReadonlyMap<string, number[]>;
  stop(): Promise<void>;
}

let world: World;
let started: Started[] = [];

interface Options extends Partial<RelayOptions> {
  readonly mood?: Mood;
  readonly readable?: boolean;
}

async function start({ mood = 'fine', readable = true, ...options }: Options): Promise<Started> {
  const db = openDatabase({ url: world.env('DATABASE_URL'), applicationName: 'relay-under-test', max: 5 });
  const nc = await connectNats({ url: world.env('NATS_URL'), name: 'relay-under-test' });
  const real = new JetStreamSink(nc);
  const sink = new MoodySink(real);
  Object.assign(sink, { mood, readable });
  const attempts = new Map<string, number[]>();
  const warn = (fields: Readonly<Record<string, unknown>>): void => {
    const id = String(fields['event_id']);
    if ('attempts' in fields) attempts.set(id, [...(attempts.get(id) ?? []), Number(fields['attempts'])]);
  };
  const relay = new Relay(
    { db, sink, peers: new NatsPeers(nc, sink), log: { info: () => undefined, warn } },
    { owner: randomUUID(), partitionCount: outboxPartitionCount, duplicateWindowMs, leaseMs, ...options },
  );
  relay.start();
  const stop = async (): Promise<void> => {
    const stopped = relay.stop();
    const giving = setInterval(() => sink.giveUp(), 10);
    await stopped.finally(() => clearInterval(giving));
    await nc.close();
    await db.close();
  };
  const one = { relay, sink, real, attempts, stop };
  started.push(one);
  await until('all partitions are held', () => relay.partitions().length === outboxPartitionCount);
  return one;
}

async function stop(one: Started): Promise<void> {
  started = started.filter((other) => other !== one);
  await one.stop();
}

/** One event on the moody subject. */
const publishMoody = (aggregateId: string, aggregateSeq = 1, occurredAt = new Date()): Promise<string> =>
  world.db.tx((tx) =>
    publish(tx, moody, {
      payload: { id: aggregateId },
      idempotencyKey: [aggregateId, String(aggregateSeq)],
      aggregateId,
      aggregateSeq,
      correlationId: 'events-test',
      occurredAt,
    }),
  );

const moodyMessages = async (): Promise<number> =>
  (await (await world.nc.jetstreamManager()).streams.info('MOODY')).state.messages;

/** New aggregates with two events each pass, all in the partition of the moody ones. */
async function neighboursPass(count = 5): Promise<void> {
  const writer = new Writer(world);
  await writer.commitEach(writer.aggregates(count, partition), 2);
  expect(await writer.audit()).toEqual([]);
}

const oldestAgeMs = async (aggregateId: string): Promise<number> => {
  const result = await world.db.q.execute<{ age: string }>(
    sql`select extract(epoch from gpuaas_now() - min(created_at)) * 1000 as age from outbox
        where aggregate_id = ${aggregateId}`,
  );
  return Number(result.rows[0]?.age);
};

beforeAll(async () => {
  world = await openWorld('events-neighbours', duplicateWindowMs);
}, 120_000);
afterEach(async () => {
  await Promise.all(started.map((one) => one.stop()));
  started = [];
  const jsm = await world.nc.jetstreamManager();
  await jsm.streams.delete('MOODY').catch(() => false);
  await world.db.q.execute(sql`delete from outbox where subject = ${moodySubject}`);
});
afterAll(() => world.close());

const addMoodyStream = async (): Promise<void> => {
  const jsm = await world.nc.jetstreamManager();
  const duplicate_window = duplicateWindowMs * 1_000_000;
  await jsm.streams.add({ name: 'MOODY', subjects: [moodySubject], duplicate_window });
};

describe('the relay, beside a stream that does not answer', { timeout: 120_000 }, () => {
  it('keeps no neighbour waiting for an answer, neither the first time nor at a repeat', async () => {
    const { relay, sink } = await start({ duplicateWindowMs: longWindowMs, batchSize: 20, mood: 'silent' });
    const stuck = new Writer(world).aggregates(60, partition);
    for (const aggregate of stuck) await publishMoody(aggregate);
    await until('all wait for an answer', () => sink.unanswered() === 60);
    await neighboursPass();
    sink.giveUp();
    await until('some are repeated', () => sink.unanswered() > 0);
    expect(relay.heldAggregates()).toBe(60);
    expect(sink.unanswered()).toBeLessThanOrEqual(20);
    await neighboursPass(50);
    await addMoodyStream();
    sink.mood = 'fine';
    sink.giveUp();
    await until('all are stored', async () => (await moodyMessages()) === 60);
    await until('none is held', () => relay.heldAggregates() === 0);
  });

  it('counts on, and waits longer each time, however many are held', async () => {
    const { sink, attempts } = await start({
      duplicateWindowMs: longWindowMs,
      batchSize: 20,
      mood: 'refusing',
    });
    const events: string[] = [];
    for (const aggregate of new Writer(world).aggregates(60, partition))
      events.push(await publishMoody(aggregate));
    const least = (): number => Math.min(...events.map((id) => attempts.get(id)?.length ?? 0));
    await until('each failed three times', () => least() >= 3);
    await neighboursPass();
    for (const id of events) {
      const seen = attempts.get(id) ?? [];
      expect(seen).toEqual(seen.map((_, at) => at + 1));
    }
    // What waits when a partition is taken may be an earlier holder's: that is searched for, once.
    expect(sink.searches.length).toBeLessThanOrEqual(1);
  });

  it('goes on when the stream cannot be searched either, and repeats nothing there until it can', async () => {
    const { relay, sink } = await start({ mood: 'lost', readable: false });
    const [stuck = ''] = new Writer(world).aggregates(1, partition);
    await publishMoody(stuck);
    const searches = () => sink.searches.filter(({ subjects }) => subjects.includes(moodySubject));
    await until('the first search has failed', () => searches().length > 0);
    const published = sink.published;
    await neighboursPass();
    await until('it was searched again', () => searches().length > 2);
    await neighboursPass();
    expect(sink.published).toBe(published);
    const times = searches().map(({ at }) => at);
    for (const [at, time] of times.entries())
      expect(time - (times[at - 1] ?? -Infinity)).toBeGreaterThan(1900);
    await addMoodyStream();
    sink.mood = 'fine';
    sink.readable = true;
    await until('it is stored', async () => (await moodyMessages()) === 1);
    await until('nothing is held', () => relay.heldAggregates() === 0);
  });

  it('leaves out at its start only what it cannot search for', async () => {
    await addMoodyStream();
    const first = await start({ mood: 'mute' });
    const writer = new Writer(world);
    const [stuck = ''] = writer.aggregates(1, partition);
    await publishMoody(stuck);
    await until('it is stored without an answer', () => first.sink.published > 0);
    await stop(first);
    expect(await moodyMessages()).toBe(1);
    writer.startAt(stuck, 1);
    await writer.commit(stuck);
    await windowPassed(world);
    const { relay, sink } = await start({ readable: false });
    await neighboursPass();
    await until('it was searched again', () => sink.searches.length > 1);
    await neighboursPass();
    expect([sink.published, await writer.unmarked(), relay.heldAggregates()]).toEqual([0, 2, 1]);
    sink.readable = true;
    expect(await writer.audit()).toEqual([]);
    await until('nothing is held', () => relay.heldAggregates() === 0);
    expect([await moodyMessages(), sink.published, relay.counters.recovered]).toEqual([1, 0, 1]);
  });

  it('tells which subjects it could not read, and hands over the ids of the others', async () => {
    const { real } = await start({});
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(3, partition), 2);
    expect(await writer.audit()).toEqual([]);
    const jsm = await world.nc.jetstreamManager();
    // A stream that takes no further consumer cannot be read.
    await jsm.streams.add({ name: 'MOODY', subjects: [moodySubject], max_consumers: 1 });
    await jsm.consumers.add('MOODY', { durable_name: 'only', ack_policy: AckPolicy.None });
    const found: string[] = [];
    const subjects = [moodySubject, provisioningFailed.subject, 'nowhere.at.all'];
    const unread = await real.storedSince(subjects, clockSlackMs, async (ids) => void found.push(...ids));
    expect(unread).toEqual([moodySubject]);
    expect(found).toEqual(expect.arrayContaining(writer.committed.map(({ eventId }) => eventId)));
    const broken = real.storedSince(subjects, clockSlackMs, () => Promise.reject(new Error('no database')));
    await expect(broken).rejects.toThrow('no database');
  });
});

describe('the relay, that takes a partition', { timeout: 120_000 }, () => {
  it.each([
    ['looks young by the clock of the database', '-599 seconds', -600_000, duplicateWindowMs, 600_000],
    ['looks young by both clocks', '0', -1000, longWindowMs, longWindowMs],
    ['is not born yet', '0', 600_000, duplicateWindowMs, 86_400_000],
  ])('searches far enough for what %s', async (_, offset, writtenMs, windowMs, leastMs) => {
    const mover = openDatabase({ url: world.env('DATABASE_TEST_URL'), applicationName: 'clock', max: 1 });
    const [aggregate = ''] = new Writer(world).aggregates(1, partition);
    await publishMoody(aggregate, 1, new Date(Date.now() + writtenMs));
    try {
      await mover.q.execute(sql`update clock_offset set clock_offset = ${offset}::interval`);
      const { sink } = await start({ duplicateWindowMs: windowMs });
      await until('a search', () => sink.searches.length > 0);
      expect(sink.searches[0]?.sinceMs).toBeGreaterThanOrEqual(leastMs + clockSlackMs);
    } finally {
      await mover.q.execute(sql`update clock_offset set clock_offset = '0'`);
      await mover.close();
    }
  });
});

describe('the relay, beside a row that is refused', { timeout: 120_000 }, () => {
  it('searches no stream for it, and for others no further back than they were sent', async () => {
    const { sink } = await start({ mood: 'refusing' });
    const [refused = '', lost = ''] = new Writer(world).aggregates(2, partition);
    await publishMoody(refused);
    // What waits when a partition is taken may be an earlier holder's: that is searched for, once.
    await until('it was refused for long', () => sink.published > 5);
    const before = sink.searches.length;
    expect(before).toBeLessThanOrEqual(1);
    await until('it was refused for longer', () => sink.published > 7);
    await neighboursPass();
    expect(sink.searches).toHaveLength(before);
    sink.mood = 'lost';
    const sentAt = performance.now();
    await publishMoody(lost);
    await until('a search', () => sink.searches.length > before);
    const search = sink.searches[before];
    expect(search?.subjects).toEqual([moodySubject]);
    expect(search?.sinceMs).toBeLessThan(clockSlackMs + performance.now() - sentAt + 1);
    expect(await oldestAgeMs(refused)).toBeGreaterThan((search?.sinceMs ?? 0) - clockSlackMs + 1000);
  });
});

describe('the relay, woken once', { timeout: 120_000 }, () => {
  it('carries a long aggregate to its end', async () => {
    const { relay } = await start({ sweepMs: 600_000, duplicateWindowMs: longWindowMs });
    const writer = new Writer(world);
    const [long = ''] = writer.aggregates(1, partition);
    await writer.commit(long, 120);
    relay.wake([partition]);
    expect(await writer.audit()).toEqual([]);
  });

  it('carries one row more than a batch holds', async () => {
    const { relay } = await start({ sweepMs: 600_000, duplicateWindowMs: longWindowMs, batchSize: 20 });
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(21, partition), 1);
    relay.wake([partition]);
    expect(await writer.audit()).toEqual([]);
  });
});
