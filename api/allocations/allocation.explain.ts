import type { WorkflowExecutionDescription } from '@temporalio/client';
import type { z } from 'zod';
import type { explainSchema } from '../../contracts/allocations/allocation.api.ts';
import { nodeTaskWait } from '../../contracts/allocations/allocation.waits.ts';
import { allocationWorkflowId, asId, type AllocationId } from '../../contracts/ids.ts';
import { taskQueues } from '../../contracts/queues.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { latestTask } from '../../db/allocations/allocation.views.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';
import type { ApiDeps } from '../deps.ts';

type Explanation = z.infer<typeof explainSchema>;
type Wait = Pick<Explanation, 'waiting_on' | 'who_can_unblock'>;

/** The engine's part is a help, not the truth: it gets this long, then the rest is served without it. */
const describeDeadlineMs = 1000;
/** A step that no worker has taken for this long waits for a worker, whatever the row says. */
const stepDueMs = 5000;
/** Longest pause between two attempts of a node task; the workflow's own bound. */
const maximumPauseMs = 30_000;

/** What an allocation waits for: the row's own columns, its newest node task, and what only the engine knows. */
export async function explain(deps: ApiDeps, row: AllocationRow, isAdmin: boolean): Promise<Explanation> {
  const task = await latestTask(deps.db.q, row.id);
  const run = await describeRun(deps, asId(row.id));
  const cause = (await workerIsMissing(deps, run)) ?? (await nodeIsTheCause(deps, row, task));
  const wait: Wait = cause ?? { waiting_on: row.waitingOn, who_can_unblock: row.whoCanUnblock };
  return {
    allocation_id: row.id,
    state: row.state,
    since: row.stateSince.toISOString(),
    waiting_on: wait.waiting_on,
    deadline: row.deadline?.toISOString() ?? null,
    who_can_unblock: wait.who_can_unblock,
    node_task:
      task === undefined
        ? null
        : {
            id: task.id,
            kind: task.kind,
            state: task.state,
            offered_at: task.offeredAt?.toISOString() ?? null,
            last_seen_at: task.lastSeenAt?.toISOString() ?? null,
          },
    workflow: run === null ? null : runView(deps, run, isAdmin),
  };
}

/** The run as the engine knows it; null when it is closed and forgotten, or the engine is away. */
async function describeRun(deps: ApiDeps, id: AllocationId): Promise<WorkflowExecutionDescription | null> {
  try {
    const handle = deps.temporal.workflow.getHandle(allocationWorkflowId(id));
    return await deps.temporal.withDeadline(Date.now() + describeDeadlineMs, () => handle.describe());
  } catch {
    return null;
  }
}

function runView(deps: ApiDeps, run: WorkflowExecutionDescription, isAdmin: boolean) {
  const { namespace } = deps.temporal.options;
  return {
    id: run.workflowId,
    run_id: run.runId,
    status: run.status.name.toLowerCase(),
    ui_url:
      isAdmin && deps.config.temporalUiUrl !== undefined
        ? `${deps.config.temporalUiUrl}/namespaces/${namespace}/workflows/${run.workflowId}/${run.runId}/history`
        : null,
    pending_activities: (run.raw.pendingActivities ?? []).map((activity) => ({
      type: activity.activityType?.name ?? 'unknown',
      attempt: activity.attempt ?? 1,
      state: pendingStates[Number(activity.state ?? 0)] ?? 'unspecified',
      last_error: isAdmin ? (activity.lastFailure?.message ?? null) : null,
      next_retry_at: instantOf(activity.nextAttemptScheduleTime),
    })),
  };
}

/** The run has a step to do, and no worker comes for it. */
async function workerIsMissing(
  deps: ApiDeps,
  run: WorkflowExecutionDescription | null,
): Promise<Wait | undefined> {
  const dueAt = run === null ? [] : stepsDue(run);
  const since = Math.min(...dueAt);
  if (dueAt.length === 0 || Date.now() - since < stepDueMs) return undefined;
  const queue = taskQueues.provisioning;
  const polled = await lastPoll(deps, queue);
  const workers =
    polled === undefined ? 'none polls the queue' : `the last poll of the queue was at ${polled}`;
  return {
    waiting_on: `a worker of ${queue}: a step waits for one since ${new Date(since).toISOString()}, ${workers}`,
    who_can_unblock: 'platform',
  };
}

/** When each step that no worker has started became due, in milliseconds since 1970. */
function stepsDue(run: WorkflowExecutionDescription): number[] {
  const { pendingWorkflowTask: task, pendingActivities } = run.raw;
  const scheduled = (step: { state?: unknown }): boolean => Number(step.state ?? 0) === 1;
  const steps = [
    ...(task != null && scheduled(task) ? [task.scheduledTime] : []),
    ...(pendingActivities ?? [])
      .filter(scheduled)
      // One in back-off is not due before its next attempt.
      .map((activity) => activity.nextAttemptScheduleTime ?? activity.scheduledTime),
  ];
  return steps.map(millisOf).filter((at) => at !== undefined);
}

/** When a worker last asked the queue for work; undefined when none did in the engine's memory, or nobody can say. */
async function lastPoll(deps: ApiDeps, queue: string): Promise<string | undefined> {
  try {
    const { namespace } = deps.temporal.options;
    const seen = await deps.temporal.withDeadline(Date.now() + describeDeadlineMs, () =>
      // The engine's number of the queue of workflow tasks.
      deps.temporal.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: queue },
        taskQueueType: 1,
      }),
    );
    const polls = (seen.pollers ?? []).map((poller) => millisOf(poller.lastAccessTime) ?? 0);
    return polls.length === 0 ? undefined : new Date(Math.max(...polls)).toISOString();
  } catch {
    return undefined;
  }
}

/** The node has an open task and is silent, or it has failed its task and will be asked again. */
async function nodeIsTheCause(
  deps: ApiDeps,
  row: AllocationRow,
  task: NodeTaskRow | undefined,
): Promise<Wait | undefined> {
  if (task === undefined || (row.state !== 'provisioning' && row.state !== 'releasing')) return undefined;
  if (task.state === 'queued' || task.state === 'offered') {
    const silence = await silenceOf(deps, task.nodeId);
    if (silence === undefined) return undefined;
    return { waiting_on: `${nodeTaskWait(task.kind)}: ${silence}`, who_can_unblock: 'node' };
  }
  const { verdict, resultAt } = task;
  if (verdict?.outcome !== 'failed' || !verdict.failure.retryable || resultAt === null) return undefined;
  const [failed, attempts, pauseMs] = await Promise.all([
    failuresOfPhase(deps, row),
    deps.policies.get('allocation.task_attempts'),
    deps.policies.get('allocation.task_retry_milliseconds'),
  ]);
  if (failed >= attempts) return undefined;
  const next = new Date(resultAt.getTime() + Math.min(pauseMs * 2 ** (failed - 1), maximumPauseMs));
  // Only the code: the words of a node stay in its task.
  const reason = `${nodeTaskWait(task.kind)} failed with ${verdict.failure.code}`;
  return {
    waiting_on: `attempt ${failed + 1} of ${attempts} at ${next.toISOString()}: ${reason}`,
    who_can_unblock: 'node',
  };
}

/** Says how long nothing was heard of a node; undefined as long as it counts as there. */
async function silenceOf(deps: ApiDeps, nodeId: string): Promise<string | undefined> {
  const offlineAfterSeconds = await deps.policies.get('node.offline_after_seconds');
  const silent = await deps.db.q.query.nodes.findFirst({
    columns: { lastContactAt: true },
    where: (node, { and, eq, sql }) =>
      and(
        eq(node.id, nodeId),
        sql`coalesce(${node.lastContactAt}, '-infinity') < gpuaas_now() - make_interval(secs => ${offlineAfterSeconds})`,
      ),
  });
  if (silent === undefined) return undefined;
  const { lastContactAt } = silent;
  return lastContactAt === null
    ? 'the node was never heard of'
    : `nothing was heard of the node since ${lastContactAt.toISOString()}`;
}

/** Attempts that ended with a failure since the row came into its state. */
async function failuresOfPhase(deps: ApiDeps, row: AllocationRow): Promise<number> {
  const failed = await deps.db.q.query.nodeTasks.findMany({
    columns: { id: true },
    where: (task, { and, eq, gte }) =>
      and(eq(task.allocationId, row.id), eq(task.state, 'failed'), gte(task.createdAt, row.stateSince)),
  });
  return failed.length;
}

/** `PendingActivityState` of the engine's API. */
const pendingStates = [
  'unspecified',
  'scheduled',
  'started',
  'cancel_requested',
  'paused',
  'pause_requested',
];

type Stamp = { readonly seconds?: unknown; readonly nanos?: number | null } | null | undefined;

const millisOf = (stamp: Stamp): number | undefined =>
  stamp?.seconds === undefined || stamp.seconds === null
    ? undefined
    : Number(String(stamp.seconds)) * 1000 + Math.floor((stamp.nanos ?? 0) / 1e6);

function instantOf(stamp: Stamp): string | null {
  const millis = millisOf(stamp);
  return millis === undefined ? null : new Date(millis).toISOString();
}
