import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { headers } from 'nats';
import { consumerName, replaySubject } from '../../contracts/streams.ts';
import { auditEffects } from '../harness/event-auditor.ts';
import {
  durableInfo,
  effectsOf,
  lettersOn,
  prepareTrials,
  recording,
  rowsOn,
  sendRaw,
  sendTrials,
  spawnConsumers,
  startingConsumers,
  trialChannel,
  trialMessage,
  untilSettled,
  type ConsumerProcess,
} from './consuming.ts';
import { openWorld, until, type World } from './fixture.ts';

let world: World;
const processes: ConsumerProcess[] = [];
const start = startingConsumers(() => world);

beforeAll(async () => {
  world = await openWorld('events-crash', 120_000);
  await prepareTrials(world);
}, 120_000);
afterEach(async () => {
  for (const one of processes.splice(0)) if (one.child.exitCode === null) await one.kill();
});
afterAll(() => world.close());

type Moment = 'after-commit' | 'in-handler' | 'after-dlq' | 'hold';
const nats = { ackWaitSeconds: 0.5, maxDeliver: 3 };
const billing = (subject: string): string => consumerName('billing', subject);

async function spawnTrial(name: string, moment: Moment, slots = 16, given = nats): Promise<ConsumerProcess> {
  const started = await spawnConsumers(
    world,
    {
      TRIAL_NAME: name,
      TRIAL_MOMENT: moment,
      TRIAL_ACK_WAIT_SECONDS: String(given.ackWaitSeconds),
      TRIAL_MAX_DELIVER: String(given.maxDeliver),
      TRIAL_SLOTS: String(slots),
    },
    'test/events/trial-consumers.ts',
  );
  processes.push(started);
  return started;
}
const startHealthy = (...of: Parameters<typeof recording>[1][]) =>
  start(of.map((one) => recording('billing', one)));

describe('a process that is killed', () => {
  it('between commit and acknowledgement leaves one effect, however often it is delivered again', async () => {
    const of = trialChannel('after_commit', nats);
    const dying = await spawnTrial('after_commit', 'after-commit');
    const ids = await sendTrials(world, of, 1);
    await dying.exited;
    expect(await effectsOf(world.db, billing(of.subject))).toHaveLength(1);
    expect((await durableInfo(world, 'TRIAL', billing(of.subject)))?.num_ack_pending).toBe(1);
    const { runtime } = await startHealthy(of);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    const owed = ids.map((eventId) => ({ consumer: billing(of.subject), eventId }));
    expect(auditEffects(owed, await effectsOf(world.db, billing(of.subject)))).toEqual([]);
    expect(await runtime.metrics.registry.metrics()).toMatch(
      /deliveries_total\{.*after_commit.*outcome="duplicate"\} 1/,
    );
  });

  it('in its handler leaves no effect; the next delivery makes it', async () => {
    const of = trialChannel('in_handler', nats);
    const dying = await spawnTrial('in_handler', 'in-handler');
    const ids = await sendTrials(world, of, 1);
    await dying.exited;
    expect(await effectsOf(world.db, billing(of.subject))).toEqual([]);
    await startHealthy(of);
    await until('the effect', async () => (await effectsOf(world.db, billing(of.subject))).length > 0);
    const owed = ids.map((eventId) => ({ consumer: billing(of.subject), eventId }));
    expect(auditEffects(owed, await effectsOf(world.db, billing(of.subject)))).toEqual([]);
  });

  it('at the last delivery leaves a letter that says so: JetStream tells, and the desk looks after it', async () => {
    const once = { ackWaitSeconds: 0.5, maxDeliver: 1 };
    const of = trialChannel('last', once);
    const dying = await spawnTrial('last', 'in-handler', 16, once);
    const [id = ''] = await sendTrials(world, of, 1);
    await dying.exited;
    await startHealthy(of);
    const [row] = await rowsOn(world, of.subject, 1);
    expect(row).toMatchObject({
      consumer: billing(of.subject),
      messageKey: id,
      reason: 'crashed',
      errorCode: 'crashed',
      deliveries: 1,
      arrivals: 1,
      stream: 'TRIAL',
    });
    expect(JSON.parse(row?.body.toString() ?? '')).toEqual(trialMessage(of, 0, id));
    expect(await effectsOf(world.db, billing(of.subject))).toEqual([]);
  });

  it('with the only delivery of a replay in hand leaves a letter of the consumer that it was for', async () => {
    const once = { ackWaitSeconds: 0.5, maxDeliver: 1 };
    const of = trialChannel('last_replay', once);
    const dying = await spawnTrial('last_replay', 'in-handler', 16, once);
    const message = trialMessage(of, 1);
    const marked = headers();
    marked.set('Gpuaas-Replay', '2');
    const replay = replaySubject('billing', of.subject);
    await sendRaw(world, replay, JSON.stringify(message), `${message.event_id}/replay-2`, marked);
    await dying.exited;
    await startHealthy(of);
    const [row] = await rowsOn(world, of.subject, 1);
    expect(row).toMatchObject({ consumer: billing(of.subject), reason: 'crashed', stream: 'REPLAYS' });
    const [letter] = await lettersOn(world, of.subject);
    expect(letter?.headers?.get('Nats-Msg-Id')).toBe(`${message.event_id}/${billing(of.subject)}/replay-2`);
  });

  it('between the DLQ and the end of the delivery leaves one letter, told twice or not', async () => {
    const once = { ackWaitSeconds: 0.5, maxDeliver: 1 };
    const of = trialChannel('after_dlq', once);
    const dying = await spawnTrial('after_dlq', 'after-dlq', 16, once);
    const [id = ''] = await sendTrials(world, of, 1);
    await dying.exited;
    await startHealthy(of);
    await until('JetStream has told of it', async () => {
      const advisories = await durableInfo(world, 'ADVISORIES', 'dlq-desk--advisories');
      const stream = await (
        await world.nc.jetstreamManager()
      ).streams.info('ADVISORIES', {
        subjects_filter: '>',
      });
      const ours = Object.keys(stream.state.subjects ?? {}).some((subject) => subject.includes('after_dlq'));
      return ours && advisories?.num_pending === 0 && advisories.num_ack_pending === 0;
    });
    const rows = await rowsOn(world, of.subject, 1);
    await untilSettled(world, 'DLQ', 'dlq-desk--dead-letters');
    expect(rows.map((row) => [row.messageKey, row.reason, row.arrivals])).toEqual([[id, 'exhausted', 1]]);
    expect(await lettersOn(world, of.subject)).toHaveLength(1);
  });
});

describe('a process that is told to end', () => {
  it('finishes what it has in hand, takes nothing new, and leaves the rest to others', async () => {
    const patient = { ackWaitSeconds: 30, maxDeliver: 3 };
    const of = trialChannel('drain', patient);
    const ending = await spawnTrial('drain', 'hold', 2, patient);
    const ids = await sendTrials(world, of, 6);
    const inHand = () => ending.output().split('handler runs').length - 1;
    await until('its hands are full', () => inHand() === 2);
    const port = /"metrics":\{[^}]*"port":(\d+)/.exec(ending.output())?.[1];
    const code = ending.end();
    await until('it was told', () => ending.output().includes('told to end'));
    expect(await effectsOf(world.db, billing(of.subject))).toEqual([]);
    await fetch(`http://127.0.0.1:${port}/release`);
    expect(await code).toBe(0);
    expect(inHand()).toBe(2);
    expect(await effectsOf(world.db, billing(of.subject))).toHaveLength(2);
    await startHealthy(of);
    const consumer = billing(of.subject);
    await until('the others', async () => (await effectsOf(world.db, consumer)).length === 6);
    await untilSettled(world, 'TRIAL', consumer);
    const owed = ids.map((eventId) => ({ consumer, eventId }));
    expect(auditEffects(owed, await effectsOf(world.db, consumer))).toEqual([]);
  });
});
