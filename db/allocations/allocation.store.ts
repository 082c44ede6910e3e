import { and, eq, inArray, sql } from 'drizzle-orm';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import {
  liveAllocationStates,
  nextAllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import type { AllocationRequest, OperationOutcome } from '../../contracts/allocations/allocation.messages.ts';
import { allocationWaits } from '../../contracts/allocations/allocation.waits.ts';
import type { Queryable, Tx } from '../client.ts';
import { deciding, undecided } from '../ops/operation.store.ts';
import { rememberingWhen } from '../ops/event.store.ts';
import { eventsParameter, publishing, type OutboxEntry } from '../outbox.ts';
import { allocations } from '../schema.ts';
import { columnsOf, isLazy, json, lazily, statement, type Parameters } from '../statement.ts';
import { SecondWriterError, telling } from '../timeline.ts';
import type { AllocationRow } from './allocation.schema.ts';

export const findAllocation = async (q: Queryable, id: string): Promise<AllocationRow | undefined> => {
  const [row] = await q.select().from(allocations).where(eq(allocations.id, id));
  return row;
};

const admitStatement = statement(
  'allocation-admit',
  `with admitted as (
    insert into allocations (id, node_id, org_id, project_id, user_id, sku, scheduler_type, state, version,
      create_operation_id, correlation_id, waiting_on, who_can_unblock, created_at, state_since)
    values (:id::uuid, :node_id::uuid, :org_id::uuid, :project_id::uuid, :actor_user_id::uuid, :sku::text,
      :scheduler_type::scheduler_type, 'requested', 1, :operation_id::uuid, :correlation_id::text, :waiting_on::text,
      :who_can_unblock::unblocker, :at::timestamptz, :at::timestamptz)
    returning *
  ), ${telling('admitted', 'allocation')}, ${publishing('admitted')}, ${deciding('admitted')}
  select outcome from decided`,
);

/** The row of an allocation as admission makes it: in state `requested` at version 1. */
export const requestedAllocation = (
  id: string,
  nodeId: string,
  request: AllocationRequest,
  at: Date,
): AllocationRow => ({
  id,
  nodeId,
  orgId: request.orgId,
  projectId: request.projectId,
  userId: request.userId,
  sku: request.sku,
  schedulerType: request.schedulerType,
  state: 'requested',
  version: 1,
  createOperationId: request.operationId,
  correlationId: request.correlationId,
  ...allocationWaits.requested,
  deadline: null,
  failureReason: null,
  createdAt: at,
  stateSince: at,
  activeAt: null,
  releaseRequestedAt: null,
  stoppedAt: null,
  releasedAt: null,
});

/**
 * Inserts the row of `requestedAllocation` with its first timeline entry, its events and the answer of its operation.
 * @throws when the operation has no row.
 */
export async function insertAllocation(
  tx: Tx,
  row: AllocationRow,
  about: {
    readonly events: readonly OutboxEntry[];
    readonly outcome: OperationOutcome;
    readonly response: Record<string, unknown>;
  },
): Promise<OperationOutcome> {
  const [decided] = (await admitStatement(tx, {
    id: row.id,
    node_id: row.nodeId,
    org_id: row.orgId,
    project_id: row.projectId,
    sku: row.sku,
    scheduler_type: row.schedulerType,
    waiting_on: row.waitingOn,
    who_can_unblock: row.whoCanUnblock,
    at: row.createdAt,
    event: 'requested',
    from: null,
    actor_type: 'user',
    actor_user_id: row.userId,
    reason: null,
    operation_id: row.createOperationId,
    correlation_id: row.correlationId,
    events: eventsParameter(about.events),
    outcome: json(about.outcome),
    response: json(about.response),
  })) as { outcome: OperationOutcome }[];
  if (decided === undefined) throw new Error(`operation ${row.createOperationId} has no row`);
  return decided.outcome;
}

/** What a transition is decided by: the row, who moved it last, and the command that orders it. */
export interface Position {
  readonly row: AllocationRow;
  /** Newest event of the timeline. */
  readonly lastEvent: string | null;
  /** True when the timeline has this very order, written by an earlier attempt, where the order would have written it. */
  readonly written: boolean;
  readonly now: Date;
  /** The command's outcome, if it has one. */
  readonly outcome: OperationOutcome | null;
  /** Why, in the words of whoever gave the command. */
  readonly commandReason: string | null;
}

type PositionRow = AllocationRow & Omit<Position, 'row'>;

const positionStatement = statement<
  { id: string; operation_id: string | null; event: string; first: number; last: number },
  PositionRow
>(
  'allocation-position',
  `select ${columnsOf(allocations, 'a')}, gpuaas_now() as now, t.event as "lastEvent",
    exists (
      select 1 from timeline w where w.entity_id = a.id and w.seq between :first::int and :last::int
        and w.event = :event::text and w.operation_id is not distinct from :operation_id::uuid
    ) as written,
    o.outcome, o.request ->> 'reason' as "commandReason"
  from allocations a
  left join timeline t on t.entity_id = a.id and t.seq = a.version
  left join operations o on o.id = :operation_id::uuid
  where a.id = :id::uuid`,
);

/** Reads what a transition is decided by. @throws when the allocation has no row. */
export async function readPosition(q: Queryable, order: TransitionOrder): Promise<Position> {
  const first = order.version + 1;
  const [found] = await positionStatement(q, {
    id: order.allocationId,
    operation_id: order.command?.operationId ?? null,
    event: order.event,
    first,
    last: order.underWay === null ? first : first + 1,
  });
  if (found === undefined) throw new Error(`allocation ${order.allocationId} has no row`);
  const { now, lastEvent, written, outcome, commandReason, ...row } = found;
  return { row, lastEvent, written, now, outcome, commandReason };
}

/**
 * The row as the order leaves it; undefined when this very order was written by an earlier attempt, however far the row
 * has gone on since: a workflow task that was lost with several transitions in it orders them all again.
 * @param stoppedAt when the node proved that the tenant's work had ended, known with `released`.
 * @throws SecondWriterError when somebody else moved the row.
 */
export function movedRow(
  position: Position,
  order: TransitionOrder,
  stoppedAt: Date | null = null,
): AllocationRow | undefined {
  const { row, lastEvent, now } = position;
  if (!fits(position, order)) {
    if (position.written) return undefined;
    throw new SecondWriterError(row.id, row.version, lastEvent, order.event);
  }
  const to = nextAllocationState(row.state, order.event);
  if (to !== order.to) throw new Error(`${order.event} does not lead from ${row.state} to ${order.to}`);
  return {
    ...row,
    state: to,
    version: row.version + 1,
    stateSince: now,
    deadline: null,
    ...allocationWaits[to],
    ...instantsOf(row, order, now),
    ...(stoppedAt === null ? {} : { stoppedAt: clamped(stoppedAt, row, now) }),
  };
}

/**
 * Moves the row, with all that tells of it.
 * @param condition one more that must hold.
 * @param deadline until when what it waits for has to come, as SQL.
 */
const moving = (condition: string, deadline = 'null'): string => `
  moved as (
    update allocations set state = :state::allocation_state, version = :version::int + 1,
      state_since = coalesce(:state_since::timestamptz, gpuaas_now()), deadline = ${deadline},
      waiting_on = :waiting_on::text, who_can_unblock = :who_can_unblock::unblocker,
      active_at = :active_at::timestamptz, release_requested_at = :release_requested_at::timestamptz,
      stopped_at = :stopped_at::timestamptz, released_at = :released_at::timestamptz,
      failure_reason = :failure_reason::text
    where id = :id::uuid and version = :version::int and state = :from::allocation_state and ${condition}
    returning *
  ), ${telling('moved', 'allocation')}`;

const moveStatement = statement(
  'allocation-move',
  `with ${undecided}, ${moving('(:operation_id::uuid is null or exists (select 1 from undecided))')},
    ${publishing('moved')}, ${deciding('moved')}
  select 1 as written from moved`,
);

/**
 * The only writer of `allocations.state`: moves the row at exactly the version that was read, with the timeline entry,
 * the events and the command's outcome, in one statement.
 * @param to of `movedRow`.
 * @returns false when the row or the command is not any more what was read: nothing was written.
 */
export async function moveAllocation(
  q: Queryable,
  {
    from,
    to,
    order,
    reason,
    events,
  }: {
    readonly from: AllocationRow;
    readonly to: AllocationRow;
    readonly order: TransitionOrder;
    readonly reason: string | null;
    readonly events: readonly OutboxEntry[];
  },
): Promise<boolean> {
  const outcome: OperationOutcome = { kind: 'accepted', state: to.state };
  const written = await moveStatement(q, {
    id: to.id,
    version: from.version,
    from: from.state,
    state: to.state,
    state_since: to.stateSince,
    waiting_on: to.waitingOn,
    who_can_unblock: to.whoCanUnblock,
    active_at: to.activeAt,
    release_requested_at: to.releaseRequestedAt,
    stopped_at: to.stoppedAt,
    released_at: to.releasedAt,
    failure_reason: to.failureReason,
    event: order.event,
    actor_type: order.command?.actorRole ?? 'system',
    actor_user_id: order.command?.actorUserId ?? null,
    reason,
    operation_id: order.command?.operationId ?? null,
    correlation_id: order.correlationId,
    events: eventsParameter(events),
    outcome: json(outcome),
    response: null,
  });
  return written.length > 0;
}

/**
 * A part of one statement: moves a row on that just came to be, without reading it first (nothing but its state is there
 * to change), and says what it waits for next, as `noteWait` would. Lazy: nobody acts on it before the task that it goes
 * with has its verdict. Its parameters are those of `startParameters`, and the `waiting_on` and `timeout_seconds` of that
 * wait.
 */
export const starting = `
  ${lazily}, ${moving(isLazy, 'gpuaas_now() + make_interval(secs => :timeout_seconds::float8)')}`;

/** The parameters of `starting`. @throws when the order is another one (a defect). */
export function startParameters(order: TransitionOrder): Parameters {
  const { from, to, event } = order;
  if (from !== 'requested' || nextAllocationState(from, event) !== to)
    throw new Error(`${event} does not start an allocation`);
  return {
    id: order.allocationId,
    version: order.version,
    from,
    state: to,
    state_since: null,
    who_can_unblock: allocationWaits[to].whoCanUnblock,
    active_at: null,
    release_requested_at: null,
    stopped_at: null,
    released_at: null,
    failure_reason: null,
    event,
    actor_type: 'system',
    actor_user_id: null,
    reason: order.reason,
    operation_id: null,
    correlation_id: order.correlationId,
  };
}

/**
 * A part of one statement: says in the row `:allocation_id` what its phase waits for, when it is in one of `:states`.
 * Locks it: its state stands until the end of the transaction. Lazy: the offer of the task, which its node learns of it by,
 * is flushed.
 */
export const noteWait = `
  ${lazily}, waiting as (
    update allocations set waiting_on = :waiting_on::text, who_can_unblock = 'node',
      deadline = gpuaas_now() + make_interval(secs => :timeout_seconds::float8)
    where id = :allocation_id::uuid and state = any(:states::allocation_state[]) and ${isLazy}
    returning id
  )`;

const dismissStatement = statement(
  'allocation-dismiss',
  `with lively as (
    select 1 from allocations
    where id = :id::uuid
      and (state not in (${liveAllocationStates.map((state) => `'${state}'`).join(', ')})
        or state_since > gpuaas_now() - make_interval(secs => :lively_seconds::float8))
  ), ${rememberingWhen('lively')}
  select event_id from remembered`,
);

/**
 * Remembers an event about an allocation for its consumer when the allocation has ended, or moved within so many
 * seconds. @returns false when nothing was remembered.
 */
export async function dismissWhereLively(
  q: Queryable,
  of: { consumer: string; event_id: string; id: string; lively_seconds: number },
): Promise<boolean> {
  return (await dismissStatement(q, of)).length > 0;
}

/** Live rows, oldest first, after an id: what must have a run. */
export const liveAllocations = (q: Queryable, after: string, limit: number): Promise<AllocationRow[]> =>
  q
    .select()
    .from(allocations)
    .where(
      and(inArray(allocations.state, [...liveAllocationStates]), sql`${allocations.id} > ${after}::uuid`),
    )
    .orderBy(allocations.id)
    .limit(limit);

/** True when the row stands where the order saw it, or where a transition that was under way has brought it. */
function fits({ row, lastEvent }: Position, order: TransitionOrder): boolean {
  if (row.version === order.version && row.state === order.from) return true;
  return order.underWay !== null && row.version === order.version + 1 && lastEvent === order.underWay;
}

/** An age that an agent told, as an instant that cannot lie before the tenant came or after now. */
function clamped(at: Date, row: AllocationRow, now: Date): Date {
  const earliest = (row.activeAt ?? row.createdAt).getTime();
  return new Date(Math.min(Math.max(at.getTime(), earliest), now.getTime()));
}

function instantsOf(
  row: AllocationRow,
  { event, reason }: TransitionOrder,
  now: Date,
): Partial<AllocationRow> {
  switch (event) {
    case 'provisioning_started':
      return {};
    case 'activated':
      return { activeAt: now };
    case 'release_requested':
    case 'force_release_requested':
      return { releaseRequestedAt: row.releaseRequestedAt ?? now };
    case 'released':
      return { releasedAt: now, failureReason: null };
    case 'provision_failed':
    case 'release_failed':
      return { failureReason: reason ?? 'unknown' };
  }
}
