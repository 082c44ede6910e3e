import { and, eq, inArray, isNull, lt, ne, sql } from 'drizzle-orm';
import type { NodeTaskVerdict } from '../../contracts/nodes/node-task.tasks.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { nodeTasks } from '../schema.ts';
import type { ActivityAddress, NewNodeTask, NodeTaskRow } from './node-task.schema.ts';

const openStates = ['queued', 'offered'] as const;

/** The task of an activity, if an earlier attempt wrote it. */
export async function findTaskOfActivity(
  tx: Tx,
  at: ActivityAddress,
  attempt: number,
): Promise<NodeTaskRow | undefined> {
  const [row] = await tx
    .update(nodeTasks)
    .set({ attempt })
    .where(
      and(
        eq(nodeTasks.workflowId, at.workflowId),
        eq(nodeTasks.runId, at.runId),
        eq(nodeTasks.activityId, at.activityId),
      ),
    )
    .returning();
  return row;
}

/**
 * Queues a task under a new fence of its node. Every older task of the allocation that is still open is superseded: its
 * result will be refused, and the agent is told to stop it.
 */
export async function insertTask(
  tx: Tx,
  task: NewNodeTask,
  params: Record<string, unknown>,
): Promise<NodeTaskRow> {
  const fenced = await tx.execute<{ fence: string }>(
    sql`update nodes set fence = fence + 1 where id = ${task.nodeId} returning fence`,
  );
  const fence = Number(fenced.rows[0]?.fence);
  if (!Number.isSafeInteger(fence)) throw new Error(`node ${task.nodeId} is gone`);
  const { timeoutSeconds, ...columns } = task;
  const id = uuid5('node-task', task.workflowId, task.runId, task.activityId);
  const [row] = await tx
    .insert(nodeTasks)
    .values({
      ...columns,
      id,
      state: 'queued',
      params,
      fence,
      createdAt: now,
      expiresAt: sql`gpuaas_now() + make_interval(secs => ${timeoutSeconds})`,
    })
    .onConflictDoNothing({ target: nodeTasks.id })
    .returning();
  // Another attempt of the same activity was a moment faster: its task stands, and so does its fence.
  const twin = row ?? (await findTaskOfActivity(tx, task, task.attempt));
  if (twin === undefined) throw new Error('the task was not inserted');
  await supersedeOpenTasks(tx, task.allocationId, id);
  return twin;
}

/** Closes every open task of an allocation to results, but for the one named. */
export async function supersedeOpenTasks(tx: Tx, allocationId: string, except?: string): Promise<void> {
  await tx
    .update(nodeTasks)
    .set({ state: 'superseded' })
    .where(
      and(
        eq(nodeTasks.allocationId, allocationId),
        inArray(nodeTasks.state, [...openStates]),
        except === undefined ? undefined : ne(nodeTasks.id, except),
      ),
    );
}

/** Offers the open tasks of a node that its agent does not name as running; marks them and the named ones as seen. */
export async function offerTasks(
  q: Queryable,
  nodeId: string,
  running: readonly string[],
  limit: number,
): Promise<NodeTaskRow[]> {
  const rows = await q
    .update(nodeTasks)
    .set({
      state: 'offered',
      offeredAt: sql`coalesce(${nodeTasks.offeredAt}, gpuaas_now())`,
      lastSeenAt: now,
    })
    .where(
      inArray(
        nodeTasks.id,
        q
          .select({ id: nodeTasks.id })
          .from(nodeTasks)
          .where(
            and(
              eq(nodeTasks.nodeId, nodeId),
              inArray(nodeTasks.state, [...openStates]),
              sql`${nodeTasks.expiresAt} > gpuaas_now()`,
              running.length > 0 ? sql`${nodeTasks.id} not in ${running}` : undefined,
            ),
          )
          .orderBy(nodeTasks.fence)
          .limit(limit)
          .for('update', { skipLocked: true }),
      ),
    )
    .returning();
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

/** A task of a node, locked. */
export async function lockTask(tx: Tx, nodeId: string, taskId: string): Promise<NodeTaskRow | undefined> {
  const [row] = await tx
    .select()
    .from(nodeTasks)
    .where(and(eq(nodeTasks.id, taskId), eq(nodeTasks.nodeId, nodeId)))
    .for('update');
  return row;
}

/** Stores what the agent reported. The caller holds the row and has seen that there is no verdict yet. */
export async function storeVerdict(
  tx: Tx,
  taskId: string,
  verdict: NodeTaskVerdict,
  result: Record<string, unknown> | null,
): Promise<void> {
  await tx
    .update(nodeTasks)
    .set({ state: verdict.outcome, verdict, result, resultAt: now })
    .where(and(eq(nodeTasks.id, taskId), isNull(nodeTasks.verdict)));
}

export async function markCompleted(q: Queryable, taskId: string): Promise<void> {
  await q.update(nodeTasks).set({ completedAt: now }).where(eq(nodeTasks.id, taskId));
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

/**
 * When the tenant's work stopped, by the latest cleanup of an allocation: the agent's age turned into an instant at
 * receipt.
 */
export async function stoppedAt(q: Queryable, allocationId: string): Promise<Date | null> {
  const found = await q.execute<{ stopped: Date | null }>(sql`
    select min(result_at - make_interval(secs => (result->>'stopped_age_seconds')::float8)) as stopped
    from node_tasks where allocation_id = ${allocationId}::uuid and kind = 'node.allocation_cleanup' and state = 'succeeded'`);
  const stopped = found.rows[0]?.stopped;
  return stopped == null ? null : new Date(stopped);
}
