import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { consumerName } from '../../contracts/streams.ts';
import { publish } from '../../db/outbox.ts';
import { deadLetters } from '../../db/schema.ts';
import { command, TargetUnavailable } from '../../workers/consumers/subscription.ts';
import { auditEffects, type FoundEffect } from '../harness/event-auditor.ts';
import {
  durableInfo,
  effectsOf,
  prepareTrials,
  recording,
  rowsOn,
  sendRaw,
  sendTrials,
  startingConsumers,
  trialChannel,
  untilSettled,
  type TrialChannel,
} from './consuming.ts';
import { openWorld, spawnRelay, startRelay, until, Writer, type LocalRelay, type World } from './fixture.ts';

let world: World;
let relay: LocalRelay;
const start = startingConsumers(() => world);

beforeAll(async () => {
  world = await openWorld('events-outage', 1000);
  await prepareTrials(world);
  relay = await startRelay(world);
}, 120_000);
afterAll(async () => {
  await relay.stop();
  await world.close();
});

const letters = async () => (await world.db.q.select().from(deadLetters)).length;
const effects = (...consumers: string[]) => effectsOf(world.db, ...consumers);

/** Commits events to the outbox; the relay brings them to the stream. */
async function commitTrials(of: TrialChannel, count: number): Promise<string[]> {
  return await world.db.tx(async (tx) => {
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) {
      ids.push(
        await publish(tx, of, {
          payload: { n },
          idempotencyKey: [of.subject, randomUUID()],
          aggregateId: randomUUID(),
          aggregateSeq: 1,
          correlationId: 'outage-test',
          occurredAt: new Date(),
        }),
      );
    }
    return ids;
  });
}
const owedBy = (consumers: readonly string[], ids: readonly string[]): FoundEffect[] =>
  consumers.flatMap((consumer) => ids.map((eventId) => ({ consumer, eventId })));

describe('while Postgres is away', () => {
  it('deliveries are held, none is counted as failed, and all effects come afterwards', async () => {
    // Two deliveries: an outage that cost one for every probe would send them all to the DLQ.
    const of = trialChannel('postgres', { ackWaitSeconds: 1, maxDeliver: 2 });
    const { runtime, log } = await start([recording('billing', of), recording('account', of)], { slots: 4 });
    const consumers = ['billing', 'account'].map((group) => consumerName(group, of.subject));
    const before = await sendTrials(world, of, 5);
    for (const one of consumers) await untilSettled(world, 'TRIAL', one);
    const lettersBefore = await letters();
    await world.stack.parts.postgres.kill();
    const during = await sendTrials(world, of, 12);
    await until('it is noticed', () => log.some((line) => line.includes('deliveries are held')));
    expect(runtime.isReady()).toBe(false);
    // Several times ack_wait: long enough that a delivery which nobody keeps alive would have come back.
    const jsm = await world.nc.jetstreamManager();
    const clock = trialChannel('outage_clock');
    await jsm.consumers.add('TRIAL', {
      durable_name: 'outage-clock',
      ack_policy: 'explicit' as never,
      filter_subject: clock.subject,
      ack_wait: 1_000_000_000,
    });
    await sendTrials(world, clock, 1);
    const ticking = await world.nc.jetstream().consumers.get('TRIAL', 'outage-clock');
    for (let turn = 1; turn <= 4; turn += 1) {
      const message = await ticking.next({ expires: 10_000 });
      expect(message?.info.deliveryCount).toBe(turn);
    }
    await jsm.consumers.delete('TRIAL', 'outage-clock');
    await world.stack.parts.postgres.start();
    for (const one of consumers) await untilSettled(world, 'TRIAL', one);
    expect(auditEffects(owedBy(consumers, [...before, ...during]), await effects(...consumers))).toEqual([]);
    expect(await letters()).toBe(lettersBefore);
    expect(await runtime.metrics.registry.metrics()).not.toMatch(/deliveries_total\{.*outcome="failed"/);
    await until('it is ready again', () => runtime.isReady());
  });

  it('the desk holds its letters, too: none is tried in vain', async () => {
    const subject = 'trial.desk_outage';
    const { runtime, log } = await start([recording('billing', trialChannel('desk_bystander'))]);
    await until('it runs', () => runtime.isReady());
    await world.stack.parts.postgres.kill();
    await sendRaw(world, `dlq.${subject}`, 'anything');
    await until('it is in hand', () => log.some((line) => /deliveries are held|will try again/.test(line)));
    await world.stack.parts.postgres.start();
    const [row] = await rowsOn(world, subject, 1);
    expect(row).toMatchObject({ state: 'open', arrivals: 1 });
    await untilSettled(world, 'DLQ', 'dlq-desk--dead-letters');
    expect(await runtime.metrics.registry.metrics()).not.toMatch(/deliveries_total\{.*outcome="failed"/);
  });

  it('a process that starts takes nothing in hand before it is back', async () => {
    const of = trialChannel('late_start', { ackWaitSeconds: 1, maxDeliver: 1 });
    await world.stack.parts.postgres.kill();
    const ids = await sendTrials(world, of, 3);
    const starting = start([recording('billing', of)]);
    const consumers = await starting;
    await until('it waits', () => consumers.log.some((line) => line.includes('deliveries are held')));
    expect(await durableInfo(world, 'TRIAL', consumerName('billing', of.subject))).toBeUndefined();
    await world.stack.parts.postgres.start();
    const consumer = consumerName('billing', of.subject);
    await until('the effects', async () => (await effects(consumer)).length === 3);
    expect(auditEffects(owedBy([consumer], ids), await effects(consumer))).toEqual([]);
  });
});

describe('while the target of a command is away', () => {
  it('its delivery is held, and other groups go on', async () => {
    const of = trialChannel('target', { ackWaitSeconds: 1, maxDeliver: 1 });
    let away = true;
    const sent: string[] = [];
    const order = command('provisioning', of, ({ event }) => {
      if (away) throw new TargetUnavailable('the engine');
      sent.push(event.event_id);
      return Promise.resolve();
    });
    const { log } = await start([order, recording('billing', of)], {
      probeTarget: () => (away ? Promise.reject(new Error('away')) : Promise.resolve()),
    });
    const ids = await sendTrials(world, of, 3);
    const billing = consumerName('billing', of.subject);
    await until('the others go on', async () => (await effects(billing)).length === 3);
    await until('it is noticed', () => log.some((line) => line.includes('deliveries are held')));
    expect(sent).toEqual([]);
    away = false;
    await until('the commands', () => sent.length === 3);
    expect([...sent].sort()).toEqual([...ids].sort());
  });

  it('an error that only looks like it is the event’s own in the end', async () => {
    const of = trialChannel('false_alarm', { ackWaitSeconds: 5, maxDeliver: 1 });
    let tries = 0;
    await start([
      command('provisioning', of, () => {
        tries += 1;
        throw new TargetUnavailable('the engine');
      }),
    ]);
    await sendTrials(world, of, 1);
    await until(
      'it is dead',
      async () =>
        (
          await world.db.q
            .select()
            .from(deadLetters)
            .where(sql`subject = ${of.subject}`)
        ).length === 1,
    );
    expect(tries).toBe(6);
  });
});

describe('when NATS', () => {
  it('is killed and started again, every event has its effect once', async () => {
    const of = trialChannel('nats', { ackWaitSeconds: 1, maxDeliver: 10 });
    await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    const before = await sendTrials(world, of, 5);
    await until('the first ones', async () => (await effects(consumer)).length === 5);
    await world.stack.parts.nats.kill();
    const during = await commitTrials(of, 10);
    await world.stack.parts.nats.start();
    const after = await commitTrials(of, 5);
    await until('all of them', async () => (await effects(consumer)).length >= 20);
    await untilSettled(world, 'TRIAL', consumer);
    expect(
      auditEffects(owedBy([consumer], [...before, ...during, ...after]), await effects(consumer)),
    ).toEqual([]);
  });
});

describe('when an operator deletes', () => {
  it('a durable, it is made again and no effect is lost or repeated', async () => {
    const of = trialChannel('durable');
    const { runtime } = await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    const before = await commitTrials(of, 5);
    await until('the first ones', async () => (await effects(consumer)).length === 5);
    await (await world.nc.jetstreamManager()).consumers.delete('TRIAL', consumer);
    const after = await commitTrials(of, 5);
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
    const lost = await commitTrials(of, 10);
    await until('one group has them', async () => (await effects(fast)).length === 10);
    await until('the other has failed', async () => {
      const info = await durableInfo(world, 'TRIAL', slow);
      return info?.num_ack_pending === 10;
    });
    open = true;
    await (await world.nc.jetstreamManager()).streams.delete('TRIAL');
    await until('they come again', async () => (await effects(slow)).length === 10);
    const later = await commitTrials(of, 5);
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
    const ids = await commitTrials(of, 5);
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

  it('a stream while no consumer runs, the next start finds it', async () => {
    const of = trialChannel('unwatched');
    const first = await start([recording('billing', of)]);
    await first.stop();
    const lost = await commitTrials(of, 5);
    const jsm = await world.nc.jetstreamManager();
    await until('they are in the stream', async () => {
      const { state } = await jsm.streams.info('TRIAL', { subjects_filter: of.subject });
      return state.subjects?.[of.subject] === 5;
    });
    await until('the rows are marked', async () => {
      const open = await world.db.q.execute(
        sql`select 1 from outbox where subject = ${of.subject} and published_at is null`,
      );
      return open.rows.length === 0;
    });
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

describe('when Redis is flushed', () => {
  it('events go on: it holds nothing that only it knows', async () => {
    const of = trialChannel('redis');
    await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    const before = await commitTrials(of, 3);
    await world.redis.flushall();
    const after = await commitTrials(of, 3);
    await until('all of them', async () => (await effects(consumer)).length === 6);
    expect(auditEffects(owedBy([consumer], [...before, ...after]), await effects(consumer))).toEqual([]);
  });
});
