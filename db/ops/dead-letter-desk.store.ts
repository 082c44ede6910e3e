/** What operators do about dead letters; how letters arrive is in `dead-letter.store.ts`. */
import { and, asc, count, eq, gt, lt, lte, ne, not, or, sql, type SQL } from 'drizzle-orm';
import type { DlqPageLetter } from '../../contracts/ops/dlq-replay.activities.ts';
import type { DlqReplayFilter } from '../../contracts/ops/dlq-replay.messages.ts';
import { strangersGroup } from '../../contracts/ops/dead-letter.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { deadLetters, dlqReplays } from '../schema.ts';
import type { DeadLetterRow } from './dead-letter.schema.ts';

export const findDeadLetter = async (q: Queryable, id: string): Promise<DeadLetterRow | undefined> => {
  const [row] = await q.select().from(deadLetters).where(eq(deadLetters.id, id));
  return row;
};

/** Reads a letter and keeps everybody else from changing it until the transaction ends. */
export const lockDeadLetter = async (tx: Tx, id: string): Promise<DeadLetterRow | undefined> => {
  const [row] = await tx.select().from(deadLetters).where(eq(deadLetters.id, id)).for('update');
  return row;
};

/** Closes a letter without its effect; call it with the letter locked. */
export async function discardDeadLetter(tx: Tx, id: string, reason: string): Promise<void> {
  await tx
    .update(deadLetters)
    .set({ state: 'discarded', discardReason: reason, updatedAt: now })
    .where(eq(deadLetters.id, id));
}

/**
 * The letter's consumer remembers its event. Written with its tables' names: the query builder leaves them out of what is
 * selected from a single table, and inside the subquery a bare name means another column.
 */
export const hasEffect = sql<boolean>`exists (
  select 1 from consumed_events c where c.consumer = dead_letters.consumer and c.event_id = dead_letters.event_id)`;
/** The letter's body is only the beginning of its message. */
export const isCut = sql<boolean>`coalesce(dead_letters.history -> 0 ? 'whole_bytes', false)`;
const isOpen = eq(deadLetters.state, 'open');
const mayBeLost = and(eq(deadLetters.state, 'replayed'), not(hasEffect));

/** Which letters a replay may still send: by name also one that was sent and may be lost. */
const selected = (filter: DlqReplayFilter): (SQL | undefined)[] => [
  filter.dead_letter_id === undefined
    ? filter.state === 'replayed'
      ? mayBeLost
      : isOpen
    : and(eq(deadLetters.id, filter.dead_letter_id), or(isOpen, mayBeLost)),
  ne(deadLetters.consumerGroup, strangersGroup),
  not(isCut),
  filter.subject === undefined ? undefined : eq(deadLetters.subject, filter.subject),
  filter.consumer === undefined ? undefined : eq(deadLetters.consumer, filter.consumer),
  filter.reason === undefined ? undefined : eq(deadLetters.reason, filter.reason),
  filter.arrived_before === undefined ? undefined : lt(deadLetters.lastAt, new Date(filter.arrived_before)),
];

/** How many letters a filter meets now, and the order number of the last of all letters. */
export async function countSelected(
  q: Queryable,
  filter: DlqReplayFilter,
): Promise<{ readonly matched: number; readonly throughSeq: number }> {
  const [met] = await q
    .select({ matched: count() })
    .from(deadLetters)
    .where(and(...selected(filter)));
  const [newest] = await q
    .select({ seq: sql<number>`coalesce(max(${deadLetters.seq}), 0)`.mapWith(Number) })
    .from(deadLetters);
  return { matched: met?.matched ?? 0, throughSeq: newest?.seq ?? 0 };
}

/** The next letters of a replay, in order. A letter's attempt counts what was surely sent, noted or not. */
export async function selectLetters(
  q: Queryable,
  filter: DlqReplayFilter,
  range: { readonly afterSeq: number; readonly throughSeq: number; readonly limit: number },
): Promise<DlqPageLetter[]> {
  return await q
    .select({
      id: deadLetters.id,
      seq: deadLetters.seq,
      arrivals: deadLetters.arrivals,
      attempt: sql<number>`greatest(${deadLetters.replays}, ${deadLetters.arrivals} - 1) + 1`.mapWith(Number),
    })
    .from(deadLetters)
    .where(
      and(...selected(filter), gt(deadLetters.seq, range.afterSeq), lte(deadLetters.seq, range.throughSeq)),
    )
    .orderBy(asc(deadLetters.seq))
    .limit(range.limit);
}

/**
 * What is left to do with a letter of a page. `returned`: it was sent under this attempt and has failed once more, which
 * nobody noted. `settled`: somebody else has dealt with it.
 */
export type LetterTask = 'send' | 'returned' | 'settled';

export function letterTask(row: DeadLetterRow, page: DlqPageLetter): LetterTask {
  if (row.state === 'discarded' || row.replays >= page.attempt) return 'settled';
  return row.arrivals > page.arrivals ? 'returned' : 'send';
}

/**
 * Notes a letter as dealt with, in its row and in the replay's, once: a repeat finds the replay's position behind it.
 * A letter that has come back meanwhile stays open.
 */
export async function noteLetter(
  tx: Tx,
  replayId: string,
  page: DlqPageLetter,
  sent: boolean,
): Promise<void> {
  // The replay's row first: it is what two attempts at the same letter meet on.
  const counter = sent
    ? { replayed: sql`${dlqReplays.replayed} + 1` }
    : { skipped: sql`${dlqReplays.skipped} + 1` };
  const advanced = await tx
    .update(dlqReplays)
    .set({ afterSeq: page.seq, ...counter })
    .where(and(eq(dlqReplays.id, replayId), lt(dlqReplays.afterSeq, page.seq)))
    .returning({ id: dlqReplays.id });
  if (advanced.length === 0 || !sent) return;
  const still = sql`${deadLetters.state} = 'open' and ${deadLetters.arrivals} = ${page.arrivals}`;
  await tx
    .update(deadLetters)
    .set({
      replays: sql`greatest(${deadLetters.replays}, ${page.attempt})`,
      state: sql`case when ${still} then 'replayed'::dead_letter_state else ${deadLetters.state} end`,
      updatedAt: now,
    })
    .where(eq(deadLetters.id, page.id));
}
