import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { markStream, reconcileStreams, unmarkedStreams } from '../../activities/platform/nats.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { consumerName } from '../../contracts/streams.ts';
import { owedEvents, storedEvents } from '../../db/ops/event.store.ts';
import { deadLetters } from '../../db/schema.ts';
import { RejectedEvent } from '../../workers/consumers/subscription.ts';
import { queryAs } from '../harness/database.ts';
import { auditEffects } from '../harness/event-auditor.ts';
import {
  durableInfo,
  effectsOf,
  prepareTrials,
  recording,
  startingConsumers,
  trialChannel,
  trialStreams,
  untilSettled,
  type TrialChannel,
} from './consuming.ts';
import {
  openWorld,
  spawnRelay,
  startRelay,
  until,
  windowPassed,
  Writer,
  type LocalRelay,
  type World,
} from './fixture.ts';
import { commitTrials, owedBy } from './losing.ts';

let world: World;
let relay: LocalRelay;
const start = startingConsumers(() => world);

beforeAll(async () => {
  world = await openWorld('events-recovery', 1000);
  await prepareTrials(world);
  relay = await startRelay(world);
}, 120_000);
afterAll(async () => {
  await relay.stop();
  await world.close();
});

const effects = (...consumers: string[]) => effectsOf(world.db, ...consumers);

/** Messages of a subject that a stream holds. */
async function stored(stream: string, subject: string): Promise<number> {
  const jsm = await world.nc.jetstreamManager();
  // A stream that is just being made again holds none.
  const info = await jsm.streams.info(stream, { subjects_filter: subject }).catch(() => undefined);
  return info?.state.subjects?.[subject] ?? 0;
}
/** Events that are in their stream, and whose rows are marked as published. */
async function commitPublished(of: TrialChannel, count: number): Promise<string[]> {
  const ids = await commitTrials(world, of, count);
  await until('the rows are marked', () => allMarked(of));
  return ids;
}
async function allMarked({ subject }: TrialChannel): Promise<boolean> {
  const open = await world.db.q.execute(
    sql`select 1 from outbox where subject = ${subject} and published_at is null`,
  );
  return open.rows.length === 0;
}
async function isMarked(stream: string): Promise<boolean> {
  const { config } = await (await world.nc.jetstreamManager()).streams.info(stream);
  return config.metadata?.['gpuaas-recovered'] !== undefined;
}

describe('when an operator deletes', () => {
  it('a durable, it is made again and no effect is lost or repeated', async () => {
    const of = trialChannel('durable');
    const { runtime } = await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    const before = await commitTrials(world, of, 5);
    await until('the first ones', async () => (await effects(consumer)).length === 5);
    await (await world.nc.jetstreamManager()).consumers.delete('TRIAL', consumer);
    const after = await commitTrials(world, of, 5);
    await until('the others', async () => (await effects(consumer)).length >= 10);
    await untilSettled(world, 'TRIAL', consumer);
    expect(auditEffects(owedBy([consumer], [...before, ...after]), await effects(consumer))).toEqual([]);
    const text = await runtime.metrics.registry.metrics();
    expect(text).toMatch(/gpuaas_consumer_recreations_total [1-9]/);
    // All ten lie in the stream; the new durable saw the old five once more.
    expect(text).toMatch(/deliveries_total\{consumer="billing--trial-durable",outcome="duplicate"\} 5/);
  });

  it('a stream with messages that nobody has consumed, they come again from the outbox', async () => {
    const of = trialChannel('stream', { ackWaitSeconds: 30, maxDeliver: 10 });
    let open = false;
    const held = recording('billing', of, () => {
      if (!open) throw new Error('not yet');
    });
    const consumers = await start([held, recording('account', of)], {
      backoff: { baseMs: 60_000, maxMs: 60_000 },
    });
    const [slow, fast] = [consumerName('billing', of.subject), consumerName('account', of.subject)];
    const lost = await commitTrials(world, of, 10);
    await until('one group has them', async () => (await effects(fast)).length === 10);
    await until('the other has failed', async () => {
      const info = await durableInfo(world, 'TRIAL', slow);
      return info?.num_ack_pending === 10;
    });
    open = true;
    await (await world.nc.jetstreamManager()).streams.delete('TRIAL');
    await until('they come again', async () => (await effects(slow)).length === 10);
    const later = await commitTrials(world, of, 5);
    await until('what is later comes, too', async () => (await effects(slow, fast)).length >= 30);
    for (const one of [slow, fast]) await untilSettled(world, 'TRIAL', one);
    expect(auditEffects(owedBy([slow, fast], [...lost, ...later]), await effects(slow, fast))).toEqual([]);
    expect(await consumers.runtime.metrics.registry.metrics()).toMatch(/republished_total [1-9]/);
    const { config } = await (await world.nc.jetstreamManager()).streams.info('TRIAL');
    expect(config.metadata?.['gpuaas-recovered']).toMatch(/^\d{4}-/);
  });

  it('the DLQ with letters that nobody has written down, their consumers get the events again', async () => {
    const of = trialChannel('letters', { ackWaitSeconds: 5, maxDeliver: 1 });
    let [mends, writes] = [false, false];
    const failing = recording('billing', of, ({ n }) => {
      if (!mends || n === 0) throw new Error('not yet');
    });
    const { runtime } = await start([failing, recording('account', of)], { mayWriteDown: () => writes });
    const [failed, fine] = [consumerName('billing', of.subject), consumerName('account', of.subject)];
    const ids = await commitTrials(world, of, 5);
    const jsm = await world.nc.jetstreamManager();
    const dlq = { subjects_filter: `dlq.${of.subject}` };
    await until('five letters', async () => {
      const { state } = await jsm.streams.info('DLQ', dlq);
      return state.subjects?.[`dlq.${of.subject}`] === 5;
    });
    await until('the other group has them', async () => (await effects(fine)).length === 5);
    mends = true;
    await jsm.streams.delete('DLQ');
    await until('they come again', async () => (await effects(failed)).length === 4);
    // What fails again is a letter again, in the new stream, and now it is written down.
    writes = true;
    const found = () =>
      world.db.q
        .select()
        .from(deadLetters)
        .where(sql`subject = ${of.subject}`);
    await until('its letter', async () => (await found()).length === 1);
    expect(await found()).toMatchObject([{ consumer: failed, eventId: ids[0], state: 'open' }]);
    expect(auditEffects(owedBy([fine], ids), await effects(fine))).toEqual([]);
    expect(auditEffects(owedBy([failed], ids.slice(1)), await effects(failed))).toEqual([]);
    expect(await runtime.metrics.registry.metrics()).toMatch(/republished_total [1-9]/);
  });

  it('the DLQ twice within the duplicate window, what failed again comes again', async () => {
    const of = trialChannel('letters_twice', { ackWaitSeconds: 5, maxDeliver: 1 });
    let mends = false;
    const failing = recording('billing', of, () => {
      if (!mends) throw new Error('not yet');
    });
    const streams = { environment: 'test', duplicateWindowMs: 120_000, declared: trialStreams } as const;
    await start([failing], { mayWriteDown: () => false, streams });
    const consumer = consumerName('billing', of.subject);
    const ids = await commitTrials(world, of, 3);
    const jsm = await world.nc.jetstreamManager();
    const letters = () => stored('DLQ', `dlq.${of.subject}`);
    await until('three letters', async () => (await letters()) === 3);
    const { created } = await jsm.streams.info('DLQ');
    await jsm.streams.delete('DLQ');
    await until('it is made again', () =>
      jsm.streams.info('DLQ').then(
        (info) => info.created !== created,
        () => false,
      ),
    );
    await until('they are letters again', async () => (await letters()) === 3);
    await until('what was lost is sent', () => isMarked('DLQ'));
    mends = true;
    await jsm.streams.delete('DLQ');
    await until('they come again', async () => (await effects(consumer)).length === 3);
    expect(auditEffects(owedBy([consumer], ids), await effects(consumer))).toEqual([]);
  });

  it('the DLQ, and then REPLAYS with what was sent again, it is sent once more', async () => {
    const of = trialChannel('replays_lost', { ackWaitSeconds: 30, maxDeliver: 10 });
    let mode: 'reject' | 'hold' | 'mend' = 'reject';
    const failing = recording('billing', of, () => {
      if (mode === 'reject') throw new RejectedEvent('allocation_not_found', 'not yet');
      if (mode === 'hold') throw new Error('not yet');
    });
    await start([failing], {
      mayWriteDown: () => false,
      backoff: { baseMs: 60_000, maxMs: 60_000 },
    });
    const consumer = consumerName('billing', of.subject);
    const ids = await commitTrials(world, of, 3);
    await until('three letters', async () => (await stored('DLQ', `dlq.${of.subject}`)) === 3);
    const jsm = await world.nc.jetstreamManager();
    mode = 'hold';
    await jsm.streams.delete('DLQ');
    await until('they are in hand', async () => {
      const info = await durableInfo(world, 'REPLAYS', consumerName('billing', 'replays'));
      return info?.num_ack_pending === 3;
    });
    await until('what was lost is sent', () => isMarked('DLQ'));
    mode = 'mend';
    await jsm.streams.delete('REPLAYS');
    await until('they come again', async () => (await effects(consumer)).length === 3);
    expect(auditEffects(owedBy([consumer], ids), await effects(consumer))).toEqual([]);
  });

  it('the DLQ while much waits, only what is not delivered by itself is sent again', async () => {
    const of = trialChannel('backlog', { ackWaitSeconds: 5, maxDeliver: 1 });
    const failing = recording('billing', of, () => {
      throw new Error('not yet');
    });
    const first = await start([failing, recording('account', of)], { mayWriteDown: () => false });
    const [failed, fine] = [consumerName('billing', of.subject), consumerName('account', of.subject)];
    // More than are sent at once.
    const ids = await commitPublished(of, 70);
    await until('letters', async () => (await stored('DLQ', `dlq.${of.subject}`)) === 70);
    for (const one of [failed, fine]) await untilSettled(world, 'TRIAL', one);
    await first.stop();
    ids.push(...(await commitPublished(of, 20)));
    await (await world.nc.jetstreamManager()).streams.delete('DLQ');
    await start([recording('billing', of), recording('account', of)]);
    await until('all of them', async () => (await effects(failed, fine)).length === 180);
    expect(auditEffects(owedBy([failed, fine], ids), await effects(failed, fine))).toEqual([]);
    expect(await stored('REPLAYS', `replay.billing.${of.subject}`)).toBe(70);
    expect(await stored('REPLAYS', `replay.account.${of.subject}`)).toBe(0);
  });

  it('nothing: streams that the relay has made and filled before are not filled a second time', async () => {
    const of = trialChannel('filled');
    const jsm = await world.nc.jetstreamManager();
    await jsm.streams.delete('TRIAL');
    const { duplicateWindowMs } = world;
    await reconcileStreams(world.nc, { environment: 'test', duplicateWindowMs, declared: trialStreams });
    const ids = await commitPublished(of, 3);
    // As if the stream were an hour old by then.
    await queryAs(
      world.env('DATABASE_OWNER_URL'),
      `update outbox set published_at = published_at + interval '1 hour' where subject = '${of.subject}'`,
    );
    await windowPassed(world);
    await start([recording('billing', of)]);
    await until('it is marked', () => isMarked('TRIAL'));
    await until('nothing is to be published', () => allMarked(of));
    const consumer = consumerName('billing', of.subject);
    await until('the effects', async () => (await effects(consumer)).length === 3);
    expect(auditEffects(owedBy([consumer], ids), await effects(consumer))).toEqual([]);
    expect(await stored('TRIAL', of.subject)).toBe(3);
  });

  it('a stream that was purged before, what nobody had consumed comes again', async () => {
    const of = trialChannel('purged');
    const first = await start([recording('billing', of)]);
    await until('it runs', () => first.runtime.isReady());
    await first.stop();
    const lost = await commitPublished(of, 5);
    const jsm = await world.nc.jetstreamManager();
    await jsm.streams.purge('TRIAL');
    await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    await untilSettled(world, 'TRIAL', consumer);
    expect(await effects(consumer)).toEqual([]);
    await jsm.streams.delete('TRIAL');
    await until('they come again', async () => (await effects(consumer)).length === 5);
    expect(auditEffects(owedBy([consumer], lost), await effects(consumer))).toEqual([]);
  });

  it('a stream while it is filled up, the new one does not get the mark of the old', async () => {
    const jsm = await world.nc.jetstreamManager();
    const { duplicateWindowMs } = world;
    const remake = async () => {
      await jsm.streams.delete('TRIAL');
      await reconcileStreams(world.nc, { environment: 'test', duplicateWindowMs, declared: trialStreams });
    };
    await remake();
    const [old] = await unmarkedStreams(world.nc, ['TRIAL']);
    if (old === undefined) throw new Error('it has a mark');
    await remake();
    await expect(markStream(world.nc, old, new Date())).rejects.toThrow(/made again/);
    const [anew] = await unmarkedStreams(world.nc, ['TRIAL']);
    expect(anew?.created).not.toBe(old.created);
  });

  it('a stream while no consumer runs, the next start finds it', async () => {
    const of = trialChannel('unwatched');
    const first = await start([recording('billing', of)]);
    await first.stop();
    const lost = await commitPublished(of, 5);
    const jsm = await world.nc.jetstreamManager();
    expect(await stored('TRIAL', of.subject)).toBe(5);
    await jsm.streams.delete('TRIAL');
    await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    await until('they come again', async () => (await effects(consumer)).length === 5);
    expect(auditEffects(owedBy([consumer], lost), await effects(consumer))).toEqual([]);
  });

  it('a stream while no consumer runs, the relay makes it again and what waits is published', async () => {
    const jsm = await world.nc.jetstreamManager();
    await relay.stop();
    const relaying = await spawnRelay(world);
    await jsm.streams.delete('PROVISIONING');
    const writer = new Writer(world);
    await writer.commitEach(writer.aggregates(3), 2);
    expect(await writer.audit()).toEqual([]);
    expect((await jsm.streams.info('PROVISIONING')).config.subjects).toEqual([
      provisioningFailed.subject.replace(/failed$/, '>'),
    ]);
    expect(await relaying.end()).toBe(0);
    relay = await startRelay(world);
  });
});

describe('what is owed', () => {
  it('may be more than fits into one JSON value', async () => {
    const owner = world.env('DATABASE_OWNER_URL');
    const [subject, count] = ['trial.large', 320];
    await queryAs(
      owner,
      `insert into outbox (event_id, subject, aggregate_id, aggregate_seq, partition, body, created_at, published_at)
       select gen_random_uuid(), '${subject}', gen_random_uuid(), 1, 0,
         jsonb_build_object('text', repeat('x', 900000)), gpuaas_now(), gpuaas_now()
       from generate_series(1, ${count})`,
    );
    const owing = [{ consumer: 'billing--trial-large', subject, until: new Date(Date.now() + 3_600_000) }];
    const { owed } = await owedEvents(world.db.q, owing, 0, 10_000);
    expect(owed).toHaveLength(count);
    const some = owed.slice(0, 3).map((one) => one.eventId);
    const bodies = await storedEvents(world.db.q, some);
    expect([...bodies.keys()].sort()).toEqual([...some].sort());
    for (const { body } of bodies.values()) expect(body).toEqual({ text: 'x'.repeat(900_000) });
    await queryAs(owner, `delete from outbox where subject = '${subject}'`);
  });
});
