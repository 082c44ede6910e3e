import { randomUUID } from 'node:crypto';
import { headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reconcileStreams } from '../../activities/platform/nats.ts';
import { deadLetterHeaders, replayHeader } from '../../contracts/ops/dead-letter.ts';
import { consumerName, replaySubject } from '../../contracts/streams.ts';
import type { DeadLetterRow } from '../../db/ops/dead-letter.schema.ts';
import type { ConsumerGroup } from '../../workers/consumers/subscription.ts';
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
  startingConsumers,
  trialChannel,
  trialMessage,
  trialStreams,
  untilSettled,
} from './consuming.ts';
import { openWorld, until, type World } from './fixture.ts';

let world: World;
const start = startingConsumers(() => world);

beforeAll(async () => {
  world = await openWorld('events-replay', 120_000);
  await prepareTrials(world);
}, 120_000);
afterAll(() => world.close());

/** As the desk's operators do it: the stored body, to the one group, under an id of the attempt. */
async function replay(row: DeadLetterRow, attempt: number): Promise<number> {
  const marked = headers();
  marked.set(replayHeader, String(attempt));
  const subject = replaySubject(row.consumerGroup, row.subject);
  return await sendRaw(world, subject, row.body.toString(), `${row.messageKey}/replay-${attempt}`, marked);
}

describe('a replay', () => {
  it('reaches the group that failed and no other, and its effect happens once', async () => {
    const of = trialChannel('cured', { ackWaitSeconds: 5, maxDeliver: 2 });
    let broken = true;
    const calls: ConsumerGroup[] = [];
    const groups = ['billing', 'account', 'event-log'] as const;
    await start(
      groups.map((group) =>
        recording(group, of, () => {
          calls.push(group);
          if (broken && group === 'account') throw new Error('broken');
        }),
      ),
    );
    const [id = ''] = await sendTrials(world, of, 1);
    const [row] = await rowsOn(world, of.subject, 1);
    if (row === undefined) throw new Error('no letter');
    await until('the others have it', async () => {
      const found = await effectsOf(world.db, ...groups.map((group) => consumerName(group, of.subject)));
      return found.length === 2;
    });
    broken = false;
    calls.length = 0;
    await replay(row, 1);
    // A replay that is sent twice, and one more of an event whose effect is there, change nothing.
    await replay(row, 1);
    await replay(row, 2);
    await untilSettled(world, 'REPLAYS', consumerName('account', 'replays'));
    expect(calls).toEqual(['account']);
    const consumers = groups.map((group) => consumerName(group, of.subject));
    const owed = consumers.map((consumer) => ({ consumer, eventId: id }));
    expect(auditEffects(owed, await effectsOf(world.db, ...consumers))).toEqual([]);
  });

  it('that fails comes back to its letter: open again, with its history', async () => {
    const of = trialChannel('incurable', { ackWaitSeconds: 5, maxDeliver: 2 });
    const { alerts } = await start([
      recording('billing', of, () => {
        throw new Error('broken');
      }),
    ]);
    const [id = ''] = await sendTrials(world, of, 1);
    const [first] = await rowsOn(world, of.subject, 1);
    if (first === undefined) throw new Error('no letter');
    for (const attempt of [1, 2]) {
      await replay(first, attempt);
      await until(`arrival ${attempt + 1}`, async () => {
        const [row] = await rowsOn(world, of.subject, 1);
        return row?.arrivals === attempt + 1;
      });
    }
    const [row, ...more] = await rowsOn(world, of.subject, 1);
    expect(more).toEqual([]);
    expect(row).toMatchObject({ id: first.id, messageKey: id, state: 'open', arrivals: 3, seq: first.seq });
    expect(row?.history.map(({ reason, deliveries }) => [reason, deliveries])).toEqual([
      ['exhausted', 2],
      ['exhausted', 2],
      ['exhausted', 2],
    ]);
    expect(new Set(row?.history.map((one) => one.dlq_seq)).size).toBe(3);
    const letters = await lettersOn(world, of.subject);
    const consumer = consumerName('billing', of.subject);
    expect(letters.map((one) => one.headers?.get('Nats-Msg-Id'))).toEqual([
      `${id}/${consumer}`,
      `${id}/${consumer}/replay-1`,
      `${id}/${consumer}/replay-2`,
    ]);
    expect(letters.map((one) => one.headers?.get(replayHeader))).toEqual(['', '1', '2']);
    await until(
      'operators heard of each',
      () => alerts.filter((one) => one.message.includes(first.id)).length === 3,
    );
  });

  it('that fails at the same place of a stream made again comes back, too: it is another delivery', async () => {
    const of = trialChannel('made_again', { ackWaitSeconds: 5, maxDeliver: 1 });
    const { alerts } = await start([
      recording('billing', of, () => {
        throw new Error('broken');
      }),
    ]);
    await sendTrials(world, of, 1);
    const [first] = await rowsOn(world, of.subject, 1);
    if (first === undefined) throw new Error('no letter');
    const jsm = await world.nc.jetstreamManager();
    for (const attempt of [1, 2]) {
      await jsm.streams.delete('REPLAYS');
      await until('it is made again', () =>
        jsm.streams.info('REPLAYS').then(
          () => true,
          () => false,
        ),
      );
      expect(await replay(first, attempt)).toBe(1);
      await until('it has failed', async () => (await lettersOn(world, of.subject)).length === attempt + 1);
      await untilSettled(world, 'DLQ', 'dlq-desk--dead-letters');
      const [row] = await rowsOn(world, of.subject, 1);
      expect(row).toMatchObject({ state: 'open', arrivals: attempt + 1, stream: 'REPLAYS', streamSeq: 1 });
      expect(row?.history).toHaveLength(attempt + 1);
    }
    expect(alerts.filter((one) => one.message.includes(first.id))).toHaveLength(3);
  });

  it('of a message without an id finds its letter again', async () => {
    const of = trialChannel('nameless');
    await start([recording('billing', of)]);
    const seq = await sendRaw(world, of.subject, 'no json');
    const [first] = await rowsOn(world, of.subject, 1);
    if (first === undefined) throw new Error('no letter');
    expect(first).toMatchObject({ messageKey: `TRIAL:${seq}`, eventId: null, reason: 'not_json' });
    await replay(first, 1);
    await until('it is back', async () => (await rowsOn(world, of.subject, 1))[0]?.arrivals === 2);
    expect(await rowsOn(world, of.subject, 1)).toHaveLength(1);
  });

  it('for a consumer that is no more comes back, too', async () => {
    const of = trialChannel('orphan');
    await start([recording('billing', trialChannel('other'))]);
    const body = JSON.stringify({ event_id: randomUUID() });
    await sendRaw(world, replaySubject('billing', of.subject), body);
    const [row] = await rowsOn(world, of.subject, 1);
    expect(row).toMatchObject({ reason: 'unknown_type', consumer: consumerName('billing', of.subject) });
    expect(row?.body.toString()).toBe(body);
  });
});

describe('what JetStream gave up on', () => {
  it('is gone when its stream was deleted: what has its place now is not buried for it', async () => {
    const of = trialChannel('healthy', { ackWaitSeconds: 0.3, maxDeliver: 1 });
    const consumer = consumerName('billing', of.subject);
    const first = await start([recording('billing', of)]);
    await until(
      'its durable is there',
      async () => (await durableInfo(world, 'TRIAL', consumer)) !== undefined,
    );
    await first.stop();
    const lost = await sendRaw(world, of.subject, JSON.stringify(trialMessage(of, 0)));
    const js = world.nc.jetstream();
    expect((await (await js.consumers.get('TRIAL', consumer)).next({ expires: 10_000 }))?.seq).toBe(lost);
    const jsm = await world.nc.jetstreamManager();
    await until('JetStream has told of it', async () => {
      const { state } = await jsm.streams.info('ADVISORIES', { subjects_filter: '>' });
      return Object.keys(state.subjects ?? {}).some((subject) => subject.endsWith(consumer));
    });
    await jsm.streams.delete('TRIAL');
    const { duplicateWindowMs } = world;
    await reconcileStreams(world.nc, { environment: 'test', duplicateWindowMs, declared: trialStreams });
    const ids = await sendTrials(world, of, lost);
    const patient = trialChannel('healthy', { ackWaitSeconds: 30, maxDeliver: 1 });
    await start([recording('billing', patient)]);
    await untilSettled(world, 'ADVISORIES', 'dlq-desk--advisories');
    await untilSettled(world, 'TRIAL', consumer);
    const owed = ids.map((eventId) => ({ consumer, eventId }));
    expect(auditEffects(owed, await effectsOf(world.db, consumer))).toEqual([]);
    expect(await lettersOn(world, of.subject)).toEqual([]);
  });
});

describe('a message that none of our consumers can have sent', () => {
  const subject = 'trial.forged';
  const ours = {
    reason: 'exhausted',
    errorCode: 'internal_error',
    detail: 'Error',
    consumer: consumerName('billing', subject),
    group: 'billing',
    subject,
    stream: 'TRIAL',
    streamSeq: '7',
    deliveries: '3',
    firstAt: '2026-01-02T03:04:05.678Z',
    lastAt: '2026-01-02T03:05:05.678Z',
  };
  type Headers = Record<keyof typeof ours, string>;
  const odd: readonly Partial<Headers>[] = [
    { streamSeq: 'abc' },
    { streamSeq: '' },
    { streamSeq: '-1' },
    { streamSeq: '1.5' },
    { streamSeq: '1e30' },
    { streamSeq: '9007199254740992' },
    { deliveries: '1e30' },
    { deliveries: '2147483648' },
    { deliveries: 'NaN' },
    { stream: '' },
    { stream: 'a stream' },
    { reason: 'bored' },
    { group: 'Billing' },
    { consumer: 'billing--other' },
    { subject: 'Upper-Case' },
    { subject: 'x'.repeat(3000), consumer: `billing--${'x'.repeat(3000)}` },
  ];
  /** With our headers, changed like this. @returns its subject, without `dlq.`. */
  async function forge(n: number, changed: Partial<Headers>, msgID?: string): Promise<string> {
    const made = headers();
    for (const [key, value] of Object.entries({ ...ours, ...changed }))
      if (value !== '') made.set(deadLetterHeaders[key as keyof Headers], value);
    await sendRaw(world, `dlq.trial.forged_${n}`, `body ${n}`, msgID, made);
    return `trial.forged_${n}`;
  }

  it('is a stranger’s, and holds up no letter', async () => {
    const { runtime } = await start([recording('billing', trialChannel('onlooker'))]);
    for (const [n, changed] of odd.entries()) {
      const [row] = await rowsOn(world, await forge(n, changed), 1);
      expect(row, JSON.stringify(changed).slice(0, 100)).toMatchObject({
        consumer: 'unknown',
        consumerGroup: 'unknown',
        reason: 'rejected',
        errorCode: 'foreign_message',
        stream: 'DLQ',
        deliveries: 0,
      });
    }
    // Times and ids that we do not write are not taken for what they say.
    await forge(odd.length, { firstAt: '-000001-01-01T00:00:00.000Z', lastAt: 'soon' }, 'y'.repeat(3000));
    const [row] = await rowsOn(world, subject, 1);
    expect(row).toMatchObject({ consumerGroup: 'billing', messageKey: 'TRIAL:7', deliveries: 3 });
    await untilSettled(world, 'DLQ', 'dlq-desk--dead-letters');
    expect(await runtime.metrics.registry.metrics()).not.toMatch(/deliveries_total\{.*outcome="failed"/);
  });

  it('on a subject of replays that no channel can have is one, also when JetStream gave up on it', async () => {
    const { log } = await start([recording('billing', trialChannel('onlooker'))]);
    const seq = await sendRaw(world, 'replay.billing.Upper-Case', 'by hand');
    const advisory = {
      timestamp: new Date().toISOString(),
      stream: 'REPLAYS',
      consumer: consumerName('billing', 'replays'),
      stream_seq: seq,
      deliveries: 10,
    };
    const told = '$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.REPLAYS.by-hand';
    await sendRaw(world, told, JSON.stringify(advisory));
    const [row] = await rowsOn(world, 'Upper-Case', 1);
    expect(row).toMatchObject({ consumer: 'unknown', consumerGroup: 'unknown', reason: 'rejected' });
    expect(row?.body.toString()).toBe('by hand');
    await untilSettled(world, 'REPLAYS', consumerName('billing', 'replays'));
    await untilSettled(world, 'ADVISORIES', 'dlq-desk--advisories');
    expect(await rowsOn(world, 'Upper-Case', 1)).toHaveLength(1);
    expect(log.filter((line) => line.includes('will try again'))).toEqual([]);
  });
});
