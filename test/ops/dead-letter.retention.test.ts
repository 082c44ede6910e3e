/** Dead letters that were dealt with are deleted in time; what somebody still owes, or may still send, never is. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asId } from '../../contracts/ids.ts';
import type { DlqPageLetter } from '../../contracts/ops/dlq-replay.activities.ts';
import type { DlqReplayFilter } from '../../contracts/ops/dlq-replay.messages.ts';
import { policyViolation } from '../../contracts/policies.ts';
import { consumerName, streamLimits, streams } from '../../contracts/streams.ts';
import { openDatabase, sqlState, type Database } from '../../db/client.ts';
import { discardDeadLetter, noteLetter, selectLetters } from '../../db/ops/dead-letter-desk.store.ts';
import type { DlqReplayRow } from '../../db/ops/dead-letter.schema.ts';
import { recordDeadLetter } from '../../db/ops/dead-letter.store.ts';
import { rememberEvent } from '../../db/ops/event.store.ts';
import { filterOf, insertDlqReplay, moveDlqReplay } from '../../db/ops/dlq-replay.store.ts';
import { createPolicyReader, setPolicy, type PolicyReader } from '../../db/ops/policy.store.ts';
import { ageOutAll } from '../../workers/consumers/retention.ts';
import { openWorld, type World } from '../events/fixture.ts';
import { queryAs } from '../harness/database.ts';
import { arriveAgain, arrivedLetter, letterRow, lettersOf } from './letters.ts';

let world: World;
/** The test role: it alone may move the product's clock. */
let mover: Database;
let policies: PolicyReader;

beforeAll(async () => {
  world = await openWorld('dead-letter-retention', 120_000);
  mover = openDatabase({ url: world.env('DATABASE_TEST_URL'), applicationName: 'clock', max: 1 });
  policies = createPolicyReader(world.db.q);
}, 120_000);
afterAll(async () => {
  await mover?.close();
  await world?.close();
});

/** Does something so many days ago, by the product's clock. */
async function daysAgo<T>(days: number, work: () => Promise<T>): Promise<T> {
  const move = (to: number) =>
    mover.q.execute(sql`update clock_offset set clock_offset = make_interval(days => ${to})`);
  await move(-days);
  try {
    return await work();
  } finally {
    await move(0);
  }
}

/** Asks for a replay of what a filter meets. */
const openReplay = (filter: DlqReplayFilter): Promise<DlqReplayRow> =>
  world.db.tx(async (tx) => {
    const request = {
      operationId: asId<never>(randomUUID()),
      filter,
      dryRun: false,
      requestedBy: asId<never>(randomUUID()),
      reason: 'the cause is mended',
      correlationId: 'retention',
    };
    return (await insertDlqReplay(tx, randomUUID(), request)).row;
  });

/** The letters that a replay has before it. */
const pageOf = (replay: DlqReplayRow): Promise<DlqPageLetter[]> =>
  selectLetters(world.db.q, filterOf(replay), { afterSeq: 0, throughSeq: replay.throughSeq, limit: 1000 });

/** Deals with letters of a replay, as its run does once each is sent. */
async function advance(replay: DlqReplayRow, page: readonly DlqPageLetter[]): Promise<void> {
  for (const letter of page) await world.db.tx((tx) => noteLetter(tx, replay.id, letter, true));
}

/** The letters' consumers have the effects of their events. */
async function remember(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const { consumer, messageKey } = await letterRow(world.db, id);
    await rememberEvent(world.db.q, consumer, messageKey);
  }
}

const remembered = async (subject: string): Promise<number> => {
  const found = await world.db.q.execute(sql`
    select 1 from consumed_events where consumer = ${consumerName('billing', subject)}`);
  return found.rows.length;
};

const finish = (replay: DlqReplayRow): Promise<unknown> =>
  world.db.tx((tx) =>
    moveDlqReplay(
      tx,
      {
        replayId: asId(replay.id),
        version: 1,
        from: 'running',
        event: 'finished',
        to: 'completed',
        correlationId: 'retention',
        command: null,
      },
      null,
    ),
  );

/** `owed`: replayed, and its consumer does not have the effect. */
type Closing = 'open' | 'discarded' | 'replayed' | 'owed';

/** Letters of a subject that came, and were dealt with, so many days ago. */
const plantClosed = (subject: string, count: number, closing: Closing, days: number): Promise<string[]> =>
  daysAgo(days, async () => {
    const ids = await world.db.tx(async (tx) => {
      const recorded: string[] = [];
      for (let n = 0; n < count; n += 1) {
        const { id } = await recordDeadLetter(tx, arrivedLetter(subject));
        if (closing === 'discarded') await discardDeadLetter(tx, id, 'of no use');
        recorded.push(id);
      }
      return recorded;
    });
    if (closing === 'replayed' || closing === 'owed') {
      const replay = await openReplay({ subject });
      await advance(replay, await pageOf(replay));
      await finish(replay);
    }
    if (closing === 'replayed') await remember(ids);
    return ids;
  });

const stateOf = (closing: Closing): string => (closing === 'owed' ? 'replayed' : closing);
const standing = async (subject: string): Promise<string[]> =>
  (await lettersOf(world.db, subject)).map(({ state }) => state);
const ageOut = (): Promise<number> =>
  ageOutAll(
    world.db,
    policies,
    () => false,
    (kind, error) => {
      throw new Error(`${kind} failed`, { cause: error });
    },
  );
const set = async (key: Parameters<typeof setPolicy>[1], value: number): Promise<void> => {
  await world.db.tx((tx) => setPolicy(tx, key, value));
  policies.refresh();
};

describe('dead letters past their days', () => {
  const table: readonly [closing: Closing, days: number, count: number, left: number][] = [
    ['discarded', 91, 520, 0],
    ['discarded', 89, 3, 3],
    ['replayed', 91, 3, 0],
    ['replayed', 89, 3, 3],
    ['owed', 91, 3, 3],
    ['owed', 4000, 3, 3],
    ['open', 91, 3, 3],
    ['open', 4000, 3, 3],
  ];

  it('go when they were dealt with, in batches, and no other', async () => {
    let due = 0;
    for (const [closing, days, count, left] of table) {
      const subject = `trial.${closing}_${days}`;
      await plantClosed(subject, count, closing, days);
      expect(await standing(subject)).toEqual(Array.from({ length: count }, () => stateOf(closing)));
      due += count - left;
    }
    expect(due).toBe(523);
    expect(await ageOut()).toBe(due);
    for (const [closing, days, , left] of table) {
      expect(await standing(`trial.${closing}_${days}`)).toEqual(
        Array.from({ length: left }, () => stateOf(closing)),
      );
    }
    expect(await ageOut()).toBe(0);
  });

  it('stay when they came back, which is counted from then', async () => {
    const [id = ''] = await plantClosed('trial.back', 1, 'replayed', 200);
    await daysAgo(100, () => arriveAgain(world.db, id));
    expect(await letterRow(world.db, id)).toMatchObject({ state: 'open', arrivals: 2 });
    expect(await ageOut()).toBe(0);
    expect(await standing('trial.back')).toEqual(['open']);
  });

  it('stay while a running replay may come to them, by name or by its filter', async () => {
    const others = await plantClosed('trial.named', 3, 'owed', 91);
    const [named = ''] = others;
    const byName = await openReplay({ dead_letter_id: named });
    expect(byName.matched).toBe(1);
    await remember(others);
    // The two others are nobody's.
    expect(await ageOut()).toBe(2);
    expect((await lettersOf(world.db, 'trial.named')).map(({ id }) => id)).toEqual([named]);
    await finish(byName);
    expect(await ageOut()).toBe(1);
    expect(await standing('trial.named')).toEqual([]);

    const subject = 'trial.filtered';
    const sentBefore = await plantClosed(subject, 3, 'owed', 91);
    const byFilter = await openReplay({ subject, state: 'replayed' });
    await plantClosed('trial.later', 2, 'discarded', 91);
    expect(byFilter.matched).toBe(3);
    const page = await pageOf(byFilter);
    await remember(sentBefore);
    // Only what came after it was asked for.
    expect(await ageOut()).toBe(2);
    expect(await standing('trial.later')).toEqual([]);
    expect(await standing(subject)).toHaveLength(3);
    await daysAgo(91, () => advance(byFilter, page.slice(0, 1)));
    // The first is behind it.
    expect(await ageOut()).toBe(1);
    await finish(byFilter);
    expect(await ageOut()).toBe(2);
    expect(await standing(subject)).toEqual([]);
  });

  it('go before their consumers forget the event, whatever the policy', async () => {
    await set('dead_letter.retention_days', 365);
    const kept = await plantClosed('trial.kept', 2, 'discarded', 119);
    const forgotten = await plantClosed('trial.forgotten', 2, 'discarded', 121);
    await daysAgo(130, () => remember([...kept, ...forgotten]));
    // Two letters, and what was remembered of these.
    expect(await ageOut()).toBe(4);
    expect([await standing('trial.kept'), await standing('trial.forgotten')]).toEqual([
      ['discarded', 'discarded'],
      [],
    ]);
    expect([await remembered('trial.kept'), await remembered('trial.forgotten')]).toEqual([2, 0]);
    await set('dead_letter.retention_days', 100);
    expect(await ageOut()).toBe(4);
    expect(await remembered('trial.kept')).toBe(0);
    await set('dead_letter.retention_days', 90);
  });

  it('that are open keep their consumers from forgetting the event: a replay would have a second effect', async () => {
    const subject = 'trial.crashed_after';
    const open = await plantClosed(subject, 1, 'open', 4000);
    await daysAgo(4000, () => remember(open));
    await daysAgo(4000, () => rememberEvent(world.db.q, consumerName('billing', subject), randomUUID()));
    expect(await ageOut()).toBe(1);
    expect(await remembered(subject)).toBe(1);
  });

  it('are never fewer than the DLQ keeps its messages: it would tell of them anew', () => {
    const dlq = streams.find(({ name }) => name === 'DLQ');
    if (dlq === undefined) throw new Error('there is no DLQ');
    const days = streamLimits(dlq, 'production').maxAgeMs / 86_400_000;
    expect(policyViolation('dead_letter.retention_days', days)).toBeUndefined();
    expect(policyViolation('dead_letter.retention_days', days - 1)).toContain(`from ${days} to`);
  });
});

describe('the product’s role', () => {
  const remove = (id: string) =>
    queryAs(world.env('DATABASE_URL'), 'delete from dead_letters where id = $1 returning state', [id]);
  const refused = async (work: Promise<unknown>): Promise<string | undefined> => {
    const error: unknown = await work.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    return sqlState(error);
  };

  it('deletes letters that were dealt with, and is refused an open one', async () => {
    const [open = ''] = await plantClosed('trial.rights', 1, 'open', 4000);
    const [discarded = ''] = await plantClosed('trial.closed', 1, 'discarded', 0);
    expect(await remove(discarded)).toEqual([{ state: 'discarded' }]);
    expect(await refused(remove(open))).toBe('42501');
    expect(await standing('trial.rights')).toEqual(['open']);
  });

  it('is refused many at once when one of them is open, and all of them', async () => {
    const subject = 'trial.mixed';
    await plantClosed(subject, 2, 'discarded', 0);
    await plantClosed(subject, 1, 'open', 0);
    const many = queryAs(world.env('DATABASE_URL'), 'delete from dead_letters where subject = $1', [subject]);
    expect(await refused(many)).toBe('42501');
    expect(await refused(queryAs(world.env('DATABASE_URL'), 'truncate dead_letters'))).toBe('42501');
    expect(await standing(subject)).toEqual(['discarded', 'discarded', 'open']);
  });
});
