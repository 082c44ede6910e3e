import { randomUUID } from 'node:crypto';
import { headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { replayHeader } from '../../contracts/ops/dead-letter.ts';
import { consumerName, replaySubject } from '../../contracts/streams.ts';
import type { DeadLetterRow } from '../../db/ops/dead-letter.schema.ts';
import type { ConsumerGroup } from '../../workers/consumers/subscription.ts';
import { auditEffects } from '../harness/event-auditor.ts';
import {
  effectsOf,
  lettersOn,
  prepareTrials,
  recording,
  rowsOn,
  sendRaw,
  sendTrials,
  startingConsumers,
  trialChannel,
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
async function replay(row: DeadLetterRow, attempt: number): Promise<void> {
  const marked = headers();
  marked.set(replayHeader, String(attempt));
  const subject = replaySubject(row.consumerGroup, row.subject);
  await sendRaw(world, subject, row.body.toString(), `${row.messageKey}/replay-${attempt}`, marked);
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
