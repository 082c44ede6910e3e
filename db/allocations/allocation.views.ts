import { and, asc, desc, eq, gt, lt, or, sql, type SQL } from 'drizzle-orm';
import type { AllocationView } from '../../contracts/allocations/allocation.api.ts';
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { Queryable } from '../client.ts';
import type { NodeTaskRow } from '../nodes/node-task.schema.ts';
import { allocations, nodes, posixIdentities, projectMembers, timeline } from '../schema.ts';
import { columnsOf, statement } from '../statement.ts';
import type { AllocationRow } from './allocation.schema.ts';

export type Connection = NonNullable<AllocationView['connection']>;

/** The public view of a row. `connection` only for an active one. */
export function allocationView(row: AllocationRow, connection: Connection | null): AllocationView {
  return {
    id: row.id,
    org_id: row.orgId,
    project_id: row.projectId,
    user_id: row.userId,
    sku: row.sku,
    scheduler_type: row.schedulerType,
    state: row.state,
    node_id: row.nodeId,
    connection,
    waiting_on: row.waitingOn,
    failure_reason: row.failureReason,
    created_at: row.createdAt.toISOString(),
    state_since: row.stateSince.toISOString(),
    active_at: row.activeAt?.toISOString() ?? null,
    released_at: row.releasedAt?.toISOString() ?? null,
  };
}

export interface AllocationFilter {
  readonly state?: AllocationState | undefined;
  readonly sku?: string | undefined;
  readonly project_id?: string | undefined;
  readonly org_id?: string | undefined;
  readonly user_id?: string | undefined;
  readonly node_id?: string | undefined;
  /** Only allocations of projects that this user is a member of, in this organisation. */
  readonly visibleTo?: { readonly userId: string; readonly orgId: string };
}

/** Position in a newest-first list. */
export interface AllocationCursor {
  readonly createdAt: Date;
  readonly id: string;
}

const selectAll = (q: Queryable) =>
  q
    .select({
      row: allocations,
      host: nodes.sshHost,
      port: nodes.sshPort,
      username: posixIdentities.username,
    })
    .from(allocations)
    .innerJoin(nodes, eq(nodes.id, allocations.nodeId))
    .innerJoin(posixIdentities, eq(posixIdentities.userId, allocations.userId));

type Selected = Awaited<ReturnType<typeof selectAll>>[number];

const viewOf = ({ row, host, port, username }: Selected): AllocationView =>
  allocationView(row, row.state === 'active' ? { host, port, username } : null);

const isVisible = (to: { userId: string; orgId: string }): SQL | undefined =>
  and(
    eq(allocations.orgId, to.orgId),
    sql`exists (select 1 from ${projectMembers} where ${projectMembers.projectId} = ${allocations.projectId}
      and ${projectMembers.userId} = ${to.userId})`,
  );

/** One page, newest first; one row more than `limit` tells that there is another page. */
export async function listAllocationViews(
  q: Queryable,
  filter: AllocationFilter,
  after: AllocationCursor | undefined,
  limit: number,
): Promise<AllocationView[]> {
  const rows = await selectAll(q)
    .where(
      and(
        filter.state && eq(allocations.state, filter.state),
        filter.sku === undefined ? undefined : eq(allocations.sku, filter.sku),
        filter.project_id === undefined ? undefined : eq(allocations.projectId, filter.project_id),
        filter.org_id === undefined ? undefined : eq(allocations.orgId, filter.org_id),
        filter.user_id === undefined ? undefined : eq(allocations.userId, filter.user_id),
        filter.node_id === undefined ? undefined : eq(allocations.nodeId, filter.node_id),
        filter.visibleTo && isVisible(filter.visibleTo),
        after &&
          or(
            lt(allocations.createdAt, after.createdAt),
            and(eq(allocations.createdAt, after.createdAt), lt(allocations.id, after.id)),
          ),
      ),
    )
    .orderBy(desc(allocations.createdAt), desc(allocations.id))
    .limit(limit + 1);
  return rows.map(viewOf);
}

type Found = AllocationRow & { readonly host: string; readonly port: number; readonly username: string };

const found = `select ${columnsOf(allocations, 'a')}, n.ssh_host as host, n.ssh_port as port, p.username
  from allocations a
  join nodes n on n.id = a.node_id
  join posix_identities p on p.user_id = a.user_id
  where a.id = :id::uuid`;

const findAny = statement<{ id: string }, Found>('allocation-view', found);
const findVisible = statement<{ id: string; user_id: string; org_id: string }, Found>(
  'allocation-view-visible',
  `${found} and a.org_id = :org_id::uuid and (a.user_id = :user_id::uuid or exists (
    select 1 from project_members m where m.project_id = a.project_id and m.user_id = :user_id::uuid))`,
);

/** One allocation that the caller may see (any, for an admin; one's own always), with its row. */
export async function getAllocationView(
  q: Queryable,
  id: string,
  visibleTo: { userId: string; orgId: string } | undefined,
): Promise<{ view: AllocationView; row: AllocationRow } | undefined> {
  const [only] =
    visibleTo === undefined
      ? await findAny(q, { id })
      : await findVisible(q, { id, user_id: visibleTo.userId, org_id: visibleTo.orgId });
  if (only === undefined) return undefined;
  const { host, port, username, ...row } = only;
  return { view: viewOf({ row, host, port, username }), row };
}

/** Timeline entries after a sequence number, oldest first, with the time since the one before. */
export async function listTimeline(q: Queryable, entityId: string, afterSeq: number, limit: number) {
  const elapsed = sql<string>`extract(epoch from ${timeline.at} - lag(${timeline.at}) over (order by ${timeline.seq})) * 1000`;
  const all = q
    .select({ seq: timeline.seq, elapsed: elapsed.as('elapsed') })
    .from(timeline)
    .where(eq(timeline.entityId, entityId))
    .as('all');
  return q
    .select({ entry: timeline, elapsed: all.elapsed })
    .from(timeline)
    .innerJoin(all, eq(all.seq, timeline.seq))
    .where(and(eq(timeline.entityId, entityId), gt(timeline.seq, afterSeq)))
    .orderBy(asc(timeline.seq))
    .limit(limit + 1);
}

interface NodeFacts {
  /** Null when the node was never heard of. */
  readonly lastContactAt: Date | null;
  /** Whole seconds since then; null as long as it counts as there, and when it was never heard of. */
  readonly silentForSeconds: number | null;
}

type TaskColumns = Pick<
  NodeTaskRow,
  'id' | 'kind' | 'state' | 'offeredAt' | 'lastSeenAt' | 'verdict' | 'resultAt'
>;

/** The newest task of an allocation, and where it stands among the attempts of its phase. */
export interface TaskFacts extends TaskColumns {
  /** Whether the phase that it belongs to is still under way. */
  readonly isOfPhase: boolean;
  /** Attempts of the phase that have ended with a failure. */
  readonly failures: number;
}

/** What Postgres knows of the wait of an allocation, at one instant. */
export interface WaitFacts {
  readonly row: AllocationRow;
  readonly node: NodeFacts;
  /** Undefined when no node was asked yet. */
  readonly task: TaskFacts | undefined;
}

type WaitRow = AllocationRow &
  NodeFacts &
  Omit<TaskFacts, 'id' | 'state'> & {
    readonly taskId: string | null;
    readonly taskState: TaskFacts['state'];
  };

// Provisioning that failed cleans up in the same state: its attempts are counted by themselves. So are those of a run that
// was started anew: it has all of its attempts before it.
const waitStatement = statement<{ id: string; offline_after_seconds: number }, WaitRow>(
  'allocation-wait-facts',
  `select ${columnsOf(allocations, 'a')}, n.last_contact_at as "lastContactAt",
    case when n.last_contact_at < gpuaas_now() - make_interval(secs => :offline_after_seconds::float8)
      then floor(extract(epoch from gpuaas_now() - n.last_contact_at))::float8 end as "silentForSeconds",
    t.id as "taskId", t.kind, t.state as "taskState", t.offered_at as "offeredAt", t.last_seen_at as "lastSeenAt",
    t.verdict, t.result_at as "resultAt",
    a.state in ('provisioning', 'releasing') and t.created_at >= a.state_since as "isOfPhase",
    (select count(*)::int from node_tasks f
      where f.allocation_id = a.id and f.state = 'failed' and f.run_id = t.run_id and f.created_at >= a.state_since
        and (f.kind = 'node.allocation_prepare') = (t.kind = 'node.allocation_prepare')) as failures
  from allocations a
  join nodes n on n.id = a.node_id
  left join lateral (
    select * from node_tasks where allocation_id = a.id order by fence desc limit 1) t on true
  where a.id = :id::uuid`,
);

/**
 * What an allocation waits for, as far as Postgres knows; undefined when it has no row.
 * @param offlineAfterSeconds silence after which a node does not count as there.
 */
export async function waitFacts(
  q: Queryable,
  id: string,
  offlineAfterSeconds: number,
): Promise<WaitFacts | undefined> {
  const [only] = await waitStatement(q, { id, offline_after_seconds: offlineAfterSeconds });
  if (only === undefined) return undefined;
  const { lastContactAt, silentForSeconds, ...rest } = only;
  const { taskId, taskState, kind, offeredAt, lastSeenAt, verdict, resultAt, isOfPhase, failures, ...row } =
    rest;
  return {
    row,
    node: { lastContactAt, silentForSeconds },
    task:
      taskId === null
        ? undefined
        : {
            id: taskId,
            state: taskState,
            ...{ kind, offeredAt, lastSeenAt, verdict, resultAt, isOfPhase, failures },
          },
  };
}

/** What the dispatch of a node task is decided by and made from. */
export interface DispatchFacts {
  readonly userId: string;
  readonly state: AllocationState;
  /** Last fencing token of the node: as long as it stands, no task was queued for the node since. */
  readonly fence: number;
  /** POSIX identity of the tenant; null when there is none. */
  readonly username: string | null;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly authorizedKeys: readonly string[];
  /** Ascending. */
  readonly slots: readonly number[];
  /** Of the task that an earlier attempt queued; null when there is none. */
  readonly taskState: NodeTaskRow['state'] | null;
  readonly verdict: NodeTaskRow['verdict'];
  readonly attempt: number | null;
}

const dispatchFactsStatement = statement<{ id: string; task_id: string }, DispatchFacts>(
  'allocation-dispatch-facts',
  `select a.user_id as "userId", a.state, n.fence::float8 as fence, p.username, p.uid, p.gid,
    array(select k.public_key from ssh_keys k where k.user_id = a.user_id order by k.created_at) as "authorizedKeys",
    array(select s.slot from placements s where s.allocation_id = a.id order by s.slot) as slots,
    t.state as "taskState", t.verdict, t.attempt
  from allocations a
  join nodes n on n.id = a.node_id
  left join posix_identities p on p.user_id = a.user_id
  left join node_tasks t on t.id = :task_id::uuid
  where a.id = :id::uuid`,
);

/** Reads what a node task of an allocation is dispatched by; undefined when it has no row. */
export async function dispatchFacts(
  q: Queryable,
  allocationId: string,
  taskId: string,
): Promise<DispatchFacts | undefined> {
  const [facts] = await dispatchFactsStatement(q, { id: allocationId, task_id: taskId });
  return facts;
}
