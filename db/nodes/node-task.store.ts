import { and, eq, inArray, isNull, lt, sql } from 'drizzle-orm';
import { maxStoppedAgeSeconds } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskVerdict } from '../../contracts/nodes/node-task.tasks.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { nodeTasks } from '../schema.ts';
import { columnsOf, isLazy, json, lazily, statement } from '../statement.ts';
import type { ActivityAddress, NodeTaskRow } from './node-task.schema.ts';

const openStates = ['queued', 'offered'] as const;
const isOpen = `state in ('queued', 'offered')`;

/** The id of an activity's task, the same for every attempt. */
export const nodeTaskIdOf = (at: ActivityAddress): string =>
  uuid5('node-task', at.workflowId, at.runId, at.activityId);

/** Notes which attempt of its activity waits for a task now. */
export async function noteAttempt(q: Queryable, taskId: string, attempt: number): Promise<void> {
  await q.update(nodeTasks).set({ attempt }).where(eq(nodeTasks.id, taskId));
}

/**
 * Parts of one statement: queue a task under a new fence of its node, when the part `change` touched a row. Every older
 * task of the allocation that is still open is superseded: its result will be refused, and the agent is told to stop it.
 * Nothing happens when the node's fence is not `:fence` any more: then a task was queued that the statement cannot see.
 */
export const queueing = (change: string): string => `
  fenced as (
    update nodes set fence = fence + 1
    where id = :node_id::uuid and fence = :fence::bigint and exists (select 1 from ${change})
    returning fence
  ), superseded as (
    update node_tasks set state = 'superseded'
    where allocation_id = :allocation_id::uuid and ${isOpen} and id <> :task_id::uuid
      and exists (select 1 from fenced)
  ), queued as (
    insert into node_tasks (id, node_id, allocation_id, kind, state, params, fence, workflow_id, run_id, activity_id,
      attempt, correlation_id, traceparent, created_at, expires_at)
    select :task_id::uuid, :node_id::uuid, :allocation_id::uuid, :kind::node_task_kind, 'queued', :params::jsonb,
      fenced.fence, :workflow_id::text, :run_id::text, :activity_id::text, :attempt::int, :correlation_id::text,
      :traceparent::text, gpuaas_now(), gpuaas_now() + make_interval(secs => :timeout_seconds::float8)
    from fenced
    returning fence::float8 as fence
  )`;

/** Closes every open task of the allocation `:allocation_id` to results. */
export const superseding = `
  update node_tasks set state = 'superseded' where allocation_id = :allocation_id::uuid and ${isOpen}`;

const supersedeStatement = statement<{ allocation_id: string }, object>('node-task-supersede', superseding);

/** Closes every open task of an allocation to results. */
export async function supersedeOpenTasks(tx: Tx, allocationId: string): Promise<void> {
  await supersedeStatement(tx, { allocation_id: allocationId });
}

const offerStatement = statement<{ node_id: string; running: readonly string[]; limit: number }, NodeTaskRow>(
  'node-task-offer',
  `with open as (
    select id from node_tasks
    where node_id = :node_id::uuid and ${isOpen} and expires_at > gpuaas_now() and id <> all(:running::uuid[])
    order by fence limit :limit::int for update skip locked
  )
  update node_tasks t set state = 'offered', offered_at = coalesce(t.offered_at, gpuaas_now()),
    last_seen_at = gpuaas_now()
  from open where t.id = open.id
  returning ${columnsOf(nodeTasks, 't')}`,
);

/**
 * Offers the open tasks of a node that its agent does not name as running; marks them as seen. Its commit is flushed: with
 * it the tasks themselves outlive the database before an agent hears of them.
 */
export async function offerTasks(
  q: Queryable,
  nodeId: string,
  running: readonly string[],
  limit: number,
): Promise<NodeTaskRow[]> {
  const rows = await offerStatement(q, { node_id: nodeId, running, limit });
  return rows.sort((a, b) => a.fence - b.fence);
}

/** Splits the tasks that an agent says it runs into those to go on with and those to stop. */
export async function runningTasks(
  q: Queryable,
  nodeId: string,
  running: readonly string[],
): Promise<{ current: NodeTaskRow[]; cancel: string[] }> {
  if (running.length === 0) return { current: [], cancel: [] };
  const current = await q
    .update(nodeTasks)
    .set({ lastSeenAt: now })
    .where(
      and(
        eq(nodeTasks.nodeId, nodeId),
        inArray(nodeTasks.id, [...running]),
        inArray(nodeTasks.state, [...openStates]),
        sql`${nodeTasks.expiresAt} > gpuaas_now()`,
      ),
    )
    .returning();
  const known = new Set(current.map((row) => row.id));
  return { current, cancel: running.filter((id) => !known.has(id)) };
}

const findStatement = statement<{ id: string; node_id: string }, NodeTaskRow>(
  'node-task-find',
  `select ${columnsOf(nodeTasks, 't')} from node_tasks t where t.id = :id::uuid and t.node_id = :node_id::uuid`,
);

/** A task of a node. */
export async function findTask(
  q: Queryable,
  nodeId: string,
  taskId: string,
): Promise<NodeTaskRow | undefined> {
  const [row] = await findStatement(q, { id: taskId, node_id: nodeId });
  return row;
}

const verdictStatement = statement(
  'node-task-verdict',
  `update node_tasks set state = :state::node_task_state, verdict = :verdict::jsonb, result = :result::jsonb,
    result_at = gpuaas_now()
  where id = :id::uuid and fence = :fence::bigint and verdict is null and ${isOpen}
  returning id`,
);

/**
 * Stores what the agent reported, once.
 * @returns false when the task is closed to results by now: it has one, or was superseded.
 */
export async function storeVerdict(
  q: Queryable,
  task: Pick<NodeTaskRow, 'id' | 'fence'>,
  verdict: NodeTaskVerdict,
  result: Record<string, unknown> | null,
): Promise<boolean> {
  const stored = await verdictStatement(q, {
    id: task.id,
    fence: task.fence,
    state: verdict.outcome,
    verdict: json(verdict),
    result: json(result),
  });
  return stored.length > 0;
}

const completedStatement = statement<{ ids: readonly string[] }, object>(
  'node-task-completed',
  `with ${lazily}
  update node_tasks set completed_at = gpuaas_now() where id = any(:ids::uuid[]) and ${isLazy}`,
);

/** Notes that the engine was told the results of tasks; lost with the database, they are told once more. */
export async function markCompleted(q: Queryable, taskIds: readonly string[]): Promise<void> {
  await completedStatement(q, { ids: taskIds });
}

/** Stored results whose activity was not told for `ageMs`. */
export const uncompletedTasks = (q: Queryable, ageMs: number, limit: number): Promise<NodeTaskRow[]> =>
  q
    .select()
    .from(nodeTasks)
    .where(
      and(
        isNull(nodeTasks.completedAt),
        lt(nodeTasks.resultAt, sql`gpuaas_now() - make_interval(secs => ${ageMs / 1000})`),
      ),
    )
    .orderBy(nodeTasks.resultAt)
    .limit(limit);

const stoppedStatement = statement<{ allocation_id: string }, { stopped: Date | null }>(
  'node-task-stopped',
  `select min(result_at - make_interval(
    secs => least((result ->> 'stopped_age_seconds')::float8, ${maxStoppedAgeSeconds}))) as stopped
  from node_tasks
  where allocation_id = :allocation_id::uuid and kind = 'node.allocation_cleanup' and state = 'succeeded'`,
);

/**
 * When the tenant's work stopped, by the latest cleanup of an allocation: the agent's age turned into an instant at
 * receipt; null without one. A stored age above the contract's longest counts as that.
 */
export async function stoppedAt(q: Queryable, allocationId: string): Promise<Date | null> {
  const [found] = await stoppedStatement(q, { allocation_id: allocationId });
  return found?.stopped ?? null;
}
