import { and, asc, eq, gt } from 'drizzle-orm';
import type { DlqReplayOrder } from '../../contracts/ops/dlq-replay.activities.ts';
import { nextDlqReplayState } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import type {
  DlqReplayCancel,
  DlqReplayFilter,
  DlqReplayOutcome,
  DlqReplayRequest,
} from '../../contracts/ops/dlq-replay.messages.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { dlqReplays, timeline } from '../schema.ts';
import { columnsOf, json, statement, type Parameters } from '../statement.ts';
import { assertRepeat, telling } from '../timeline.ts';
import { countSelected } from './dead-letter-desk.store.ts';
import type { DlqReplayRow } from './dead-letter.schema.ts';
import { deciding, findOperation } from './operation.store.ts';

export const findDlqReplay = async (q: Queryable, id: string): Promise<DlqReplayRow | undefined> => {
  const [row] = await q.select().from(dlqReplays).where(eq(dlqReplays.id, id));
  return row;
};

/** The filter that a row keeps. */
export const filterOf = (row: Pick<DlqReplayRow, 'filter'>): DlqReplayFilter => row.filter as DlqReplayFilter;

/** What an operation asks for. @throws when it has no row. */
export async function readRequest(q: Queryable, operationId: string): Promise<DlqReplayRequest> {
  const operation = await findOperation(q, operationId);
  if (operation === undefined) throw new Error(`operation ${operationId} has no row`);
  return operation.request as unknown as DlqReplayRequest;
}

/** The command of an operation's request, without what stays in the row: the caller's words. */
export function cancelOf(request: Record<string, unknown>): DlqReplayCancel {
  const { operationId, actorUserId, correlationId } = request as unknown as DlqReplayCancel;
  return { operationId, actorUserId, correlationId };
}

/**
 * Inserts the row of a request in state `running` with its first timeline entry, with what its filter meets now.
 * @returns the row, and whether this call made it.
 */
export async function insertDlqReplay(
  tx: Tx,
  id: string,
  request: DlqReplayRequest,
): Promise<{ readonly row: DlqReplayRow; readonly inserted: boolean }> {
  const { filter, dryRun, requestedBy, reason, correlationId, operationId } = request;
  const [inserted] = await tx
    .insert(dlqReplays)
    .values({
      id,
      state: 'running',
      version: 1,
      filter: { ...filter },
      dryRun,
      ...(await countSelected(tx, filter)),
      afterSeq: 0,
      replayed: 0,
      skipped: 0,
      requestedBy,
      requestedRole: 'admin',
      reason,
      createOperationId: operationId,
      correlationId,
      createdAt: now,
      stateSince: now,
    })
    .onConflictDoNothing()
    .returning();
  if (inserted !== undefined) {
    await tx.insert(timeline).values({
      entityId: id,
      seq: 1,
      stem: 'dlq-replay',
      event: 'requested',
      toState: 'running',
      at: inserted.stateSince,
      actorType: 'admin',
      actorUserId: requestedBy,
      reason,
      operationId,
      correlationId,
    });
    return { row: inserted, inserted: true };
  }
  const row = await findDlqReplay(tx, id);
  if (row === undefined) throw new Error(`replay ${id} is gone`);
  return { row, inserted: false };
}

const moveStatement = statement<Parameters, DlqReplayRow>(
  'dlq-replay-move',
  `with moved as (
    update dlq_replays set state = :state::dlq_replay_state, version = :version::int + 1, state_since = gpuaas_now(),
      finished_at = gpuaas_now(),
      skipped = case when dry_run or :event::text <> 'finished' then skipped else greatest(skipped, matched - replayed) end
    where id = :id::uuid and version = :version::int and state = :from::dlq_replay_state
    returning *
  ), ${telling('moved', 'dlq-replay')}
  select ${columnsOf(dlqReplays, 'moved')} from moved`,
);

/**
 * The only writer of `dlq_replays.state`: moves the row at exactly the version that the workflow saw, with the timeline
 * entry.
 * @returns the row, and false when this very order was written by an earlier attempt.
 * @throws SecondWriterError when somebody else moved it.
 */
export async function moveDlqReplay(
  tx: Tx,
  order: DlqReplayOrder,
  commandReason: string | null,
): Promise<{ readonly row: DlqReplayRow; readonly moved: boolean }> {
  const { replayId, command } = order;
  const to = nextDlqReplayState(order.from, order.event);
  if (to !== order.to) throw new Error(`${order.event} does not lead from ${order.from} to ${order.to}`);
  const [moved] = await moveStatement(tx, {
    id: replayId,
    version: order.version,
    from: order.from,
    state: to,
    event: order.event,
    actor_type: command === null ? 'system' : 'admin',
    actor_user_id: command?.actorUserId ?? null,
    reason: commandReason,
    operation_id: command?.operationId ?? null,
    correlation_id: order.correlationId,
  });
  if (moved !== undefined) return { row: moved, moved: true };
  const row = await findDlqReplay(tx, replayId);
  if (row === undefined) throw new Error(`replay ${replayId} has no row`);
  const [last] = await tx
    .select({ event: timeline.event, operationId: timeline.operationId })
    .from(timeline)
    .where(and(eq(timeline.entityId, replayId), eq(timeline.seq, row.version)));
  assertRepeat(
    replayId,
    { seq: row.version, event: last?.event ?? null, operationId: last?.operationId ?? null },
    { event: order.event, operationId: command?.operationId ?? null },
  );
  return { row, moved: false };
}

const decideStatement = statement<Parameters, { outcome: DlqReplayOutcome }>(
  'dlq-replay-decide',
  `with always as (select 1), ${deciding('always')} select outcome from decided`,
);

/** Stores the outcome of an operation with the answer's body; the first one stands. @returns what it says now. */
export async function decideDlqOperation(
  q: Queryable,
  operationId: string,
  outcome: DlqReplayOutcome,
  response: Record<string, unknown> | null,
): Promise<DlqReplayOutcome> {
  const [row] = await decideStatement(q, {
    operation_id: operationId,
    outcome: json(outcome),
    response: json(response),
  });
  if (row === undefined) throw new Error(`operation ${operationId} has no row`);
  return row.outcome;
}

/** Replays that have not ended, in the order of their ids. */
export const runningDlqReplays = (q: Queryable, afterId: string, limit: number): Promise<DlqReplayRow[]> =>
  q
    .select()
    .from(dlqReplays)
    .where(and(eq(dlqReplays.state, 'running'), gt(dlqReplays.id, afterId)))
    .orderBy(asc(dlqReplays.id))
    .limit(limit);
