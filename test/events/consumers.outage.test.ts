import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { consumerName } from '../../contracts/streams.ts';
import { deadLetters } from '../../db/schema.ts';
import { command, TargetUnavailable } from '../../workers/consumers/subscription.ts';
import { auditEffects } from '../harness/event-auditor.ts';
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
} from './consuming.ts';
import { openWorld, startRelay, until, type LocalRelay, type World } from './fixture.ts';
import { commitTrials, owedBy } from './losing.ts';

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
    const during = await commitTrials(world, of, 10);
    await world.stack.parts.nats.start();
    const after = await commitTrials(world, of, 5);
    await until('all of them', async () => (await effects(consumer)).length >= 20);
    await untilSettled(world, 'TRIAL', consumer);
    expect(
      auditEffects(owedBy([consumer], [...before, ...during, ...after]), await effects(consumer)),
    ).toEqual([]);
  });
});

describe('when Redis is flushed', () => {
  it('events go on: it holds nothing that only it knows', async () => {
    const of = trialChannel('redis');
    await start([recording('billing', of)]);
    const consumer = consumerName('billing', of.subject);
    const before = await commitTrials(world, of, 3);
    await world.redis.flushall();
    const after = await commitTrials(world, of, 3);
    await until('all of them', async () => (await effects(consumer)).length === 6);
    expect(auditEffects(owedBy([consumer], [...before, ...after]), await effects(consumer))).toEqual([]);
  });
});
