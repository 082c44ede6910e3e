import type { WorkflowExecutionDescription } from '@temporalio/client';
import type { z } from 'zod';
import type { explainSchema } from '../../contracts/allocations/allocation.api.ts';
import { isTerminalAllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import { nodeTaskWait, taskPauseMs } from '../../contracts/allocations/allocation.waits.ts';
import { CodedError } from '../../contracts/errors.ts';
import { allocationWorkflowId, asId, type AllocationId } from '../../contracts/ids.ts';
import { taskQueues } from '../../contracts/queues.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { waitFacts, type TaskFacts, type WaitFacts } from '../../db/allocations/allocation.views.ts';
import type { ApiDeps } from '../deps.ts';

type Explanation = z.infer<typeof explainSchema>;
type Wait = Pick<Explanation, 'waiting_on' | 'who_can_unblock'>;
type TaskView = NonNullable<Explanation['node_task']>;

/** Since when a step waits for a worker, and when one last asked for steps, as far as anybody knows. */
interface MissingWorker {
  readonly since: string;
  readonly lastPollAt: string | null;
}

/** The engine's part is a help, not the truth: it gets this long, then the rest is served without it. */
const describeDeadlineMs = 1000;
/** A step that no worker has taken for this long waits for a worker, whatever the row says. */
const stepDueMs = 5000;

/**
 * What an allocation waits for: its row, its node, its newest node task, and what only the engine knows.
 * @param found the row that the caller may see; it is read anew, together with the rest.
 * @param isAdmin admins also see the words of failures, the engine's page, and the node after the end.
 * @throws CodedError allocation_not_found.
 */
export async function explain(deps: ApiDeps, found: AllocationRow, isAdmin: boolean): Promise<Explanation> {
  const facts = await waitFacts(deps.db.q, found.id, await deps.policies.get('node.offline_after_seconds'));
  if (facts === undefined) throw new CodedError('allocation_not_found');
  const { row } = facts;
  const run = await describeRun(deps, asId(row.id));
  const missing = run === null ? undefined : await missingWorker(deps, run);
  const task = facts.task === undefined ? null : await taskView(deps, facts.task);
  const cause = missing === undefined ? nodeWait(facts, task) : workerWait(missing);
  const wait: Wait = cause ?? { waiting_on: row.waitingOn, who_can_unblock: row.whoCanUnblock };
  return {
    allocation_id: row.id,
    state: row.state,
    since: row.stateSince.toISOString(),
    waiting_on: wait.waiting_on,
    deadline: row.deadline?.toISOString() ?? null,
    who_can_unblock: wait.who_can_unblock,
    node_task: task,
    node: nodeView(facts, isAdmin),
    workflow: run === null ? null : runView(deps, run, missing, isAdmin),
  };
}

/** The newest task with its attempts, as the policies that hold now have them. */
async function taskView(deps: ApiDeps, task: TaskFacts): Promise<TaskView> {
  const { verdict, resultAt, failures } = task;
  const failure = verdict?.outcome === 'failed' ? verdict.failure : undefined;
  const [attempts, firstPauseMs] = await Promise.all([
    deps.policies.get('allocation.task_attempts'),
    deps.policies.get('allocation.task_retry_milliseconds'),
  ]);
  const isTriedAgain = task.isOfPhase && failure?.retryable === true && failures < attempts;
  return {
    id: task.id,
    kind: task.kind,
    state: task.state,
    offered_at: task.offeredAt?.toISOString() ?? null,
    last_seen_at: task.lastSeenAt?.toISOString() ?? null,
    attempt: task.isOfPhase ? failures + (failure === undefined ? 1 : 0) : null,
    max_attempts: task.isOfPhase ? attempts : null,
    next_attempt_at:
      isTriedAgain && resultAt !== null
        ? new Date(resultAt.getTime() + taskPauseMs(firstPauseMs, failures)).toISOString()
        : null,
    failure_code: failure?.code ?? null,
  };
}

/** The node as long as it is the allocation's own; afterwards it is another tenant's, and for admins only. */
function nodeView({ row, node }: WaitFacts, isAdmin: boolean): Explanation['node'] {
  if (isTerminalAllocationState(row.state) && !isAdmin) return null;
  return {
    id: row.nodeId,
    last_contact_at: node.lastContactAt?.toISOString() ?? null,
    silent_for_seconds: node.silentForSeconds,
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

function runView(
  deps: ApiDeps,
  run: WorkflowExecutionDescription,
  missing: MissingWorker | undefined,
  isAdmin: boolean,
): NonNullable<Explanation['workflow']> {
  const { namespace } = deps.temporal.options;
  return {
    id: run.workflowId,
    run_id: run.runId,
    status: run.status.name.toLowerCase(),
    ui_url:
      isAdmin && deps.config.temporalUiUrl !== undefined
        ? `${deps.config.temporalUiUrl}/namespaces/${namespace}/workflows/${run.workflowId}/${run.runId}/history`
        : null,
    step_due_since: missing?.since ?? null,
    last_worker_poll_at: missing?.lastPollAt ?? null,
    pending_activities: (run.raw.pendingActivities ?? []).map((activity) => ({
      type: activity.activityType?.name ?? 'unknown',
      attempt: activity.attempt ?? 1,
      state: pendingStates[Number(activity.state ?? 0)] ?? 'unspecified',
      last_error: isAdmin ? (activity.lastFailure?.message ?? null) : null,
      next_retry_at: instantOf(activity.nextAttemptScheduleTime),
    })),
  };
}

/** The run has had a step to do for a while, and no worker comes for it. */
async function missingWorker(
  deps: ApiDeps,
  run: WorkflowExecutionDescription,
): Promise<MissingWorker | undefined> {
  const since = Math.min(...stepsDue(run));
  if (!Number.isFinite(since) || Date.now() - since < stepDueMs) return undefined;
  return {
    since: new Date(since).toISOString(),
    lastPollAt: (await lastPoll(deps, taskQueues.provisioning)) ?? null,
  };
}

function workerWait({ since, lastPollAt }: MissingWorker): Wait {
  const workers =
    lastPollAt === null ? 'none polls the queue' : `the last poll of the queue was at ${lastPollAt}`;
  return {
    waiting_on: `a worker of ${taskQueues.provisioning}: a step waits for one since ${since}, ${workers}`,
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
function nodeWait({ row, node, task: asked }: WaitFacts, task: TaskView | null): Wait | undefined {
  if (asked === undefined || task === null) return undefined;
  if (row.state !== 'provisioning' && row.state !== 'releasing') return undefined;
  if (asked.state === 'queued' || asked.state === 'offered') {
    const silence = silenceOf(node);
    if (silence === undefined) return undefined;
    return { waiting_on: `${nodeTaskWait(asked.kind)}: ${silence}`, who_can_unblock: 'node' };
  }
  const { attempt, max_attempts: attempts, next_attempt_at: next, failure_code: code } = task;
  if (attempt === null || attempts === null || next === null || code === null) return undefined;
  // Only the code: the words of a node stay in its task.
  const reason = `${nodeTaskWait(asked.kind)} failed with ${code}`;
  return {
    waiting_on: `attempt ${attempt + 1} of ${attempts} at ${next}: ${reason}`,
    who_can_unblock: 'node',
  };
}

/** Says how long nothing was heard of a node; undefined as long as it counts as there. */
function silenceOf({ lastContactAt, silentForSeconds }: WaitFacts['node']): string | undefined {
  if (lastContactAt === null) return 'the node was never heard of';
  return silentForSeconds === null
    ? undefined
    : `nothing was heard of the node since ${lastContactAt.toISOString()}`;
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
