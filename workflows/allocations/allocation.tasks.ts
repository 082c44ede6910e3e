/** The node's part of an allocation: tasks in order, bounded attempts, one verdict. */
import {
  ActivityCancellationType,
  ActivityFailure,
  proxyActivities,
  rootCause,
  sleep,
  isCancellation,
} from '@temporalio/workflow';
import { ApplicationFailure } from '@temporalio/common';
import type {
  NodeTaskActivities,
  TransitionOrder,
} from '../../contracts/allocations/allocation.activities.ts';
import type { TaskBudgets } from '../../contracts/allocations/allocation.messages.ts';
import { nodeTaskWait, taskPauseMs } from '../../contracts/allocations/allocation.waits.ts';
import type { AllocationId, NodeId } from '../../contracts/ids.ts';
import {
  cleanupSequence,
  type NodeTaskKind,
  type NodeTaskVerdict,
} from '../../contracts/nodes/node-task.tasks.ts';

/** Silence of the agent after which a task is offered again (the agent's polls are its heartbeat). */
const heartbeatTimeout = '5 seconds';

export interface TaskContext {
  readonly allocationId: AllocationId;
  readonly nodeId: NodeId;
  readonly correlationId: string;
  readonly budgets: TaskBudgets;
  /** Why, as the node logs it. */
  readonly reason: string;
  /** Tells operators what it waits for now. */
  readonly show: (waitingOn: string) => void;
}

export type Phase = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly reason: string };

/** The reason of a node that stayed silent for the whole budget of a task. */
const unreachable = 'node_unreachable';

/**
 * Lets the tenant in. `started` is called as soon as the transition that travels with the first task has happened for
 * certain: with the node's own verdict on that task. After a silence nobody knows.
 */
export async function prepareNode(
  context: TaskContext,
  transition: TransitionOrder | undefined,
  started: () => void,
): Promise<Phase> {
  let first = transition;
  return attempts(context, async () => {
    const verdict = await runTask(context, 'node.allocation_prepare', first);
    const certain = verdict.outcome !== 'failed' || verdict.failure.code !== unreachable;
    if (first !== undefined && certain) started();
    first = undefined;
    return verdict;
  });
}

/** Ends the tenant's work, scrubs, wipes and proves it. Every attempt runs the whole sequence. */
export const cleanNode = (context: TaskContext): Promise<Phase> =>
  attempts(context, async () => {
    for (const kind of cleanupSequence) {
      const verdict = await runTask(context, kind);
      if (verdict.outcome !== 'succeeded') return verdict;
    }
    return { outcome: 'succeeded' };
  });

async function attempts(context: TaskContext, attempt: () => Promise<NodeTaskVerdict>): Promise<Phase> {
  const { taskAttempts, taskRetryMilliseconds } = context.budgets;
  for (let tried = 1; ; tried += 1) {
    const verdict = await attempt();
    if (verdict.outcome === 'succeeded') return { kind: 'done' };
    if (verdict.outcome === 'cancelled') return { kind: 'failed', reason: 'node_task_cancelled' };
    const { code, retryable } = verdict.failure;
    if (!retryable || tried >= taskAttempts) return { kind: 'failed', reason: code };
    await sleep(taskPauseMs(taskRetryMilliseconds, tried));
  }
}

/** One task as one asynchronous activity. A node that stays silent for the whole budget is a final failure. */
async function runTask(
  context: TaskContext,
  kind: NodeTaskKind,
  transition?: TransitionOrder,
): Promise<NodeTaskVerdict> {
  const { runNodeTask } = proxyActivities<NodeTaskActivities>({
    scheduleToCloseTimeout: context.budgets.taskTimeoutSeconds * 1000,
    startToCloseTimeout: context.budgets.taskTimeoutSeconds * 1000,
    heartbeatTimeout,
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: { initialInterval: '200 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
    summary: kind,
  });
  const { allocationId, nodeId, correlationId, reason } = context;
  const task = { allocationId, nodeId, kind, correlationId, reason };
  context.show(nodeTaskWait(kind));
  try {
    return await runNodeTask(transition === undefined ? { task } : { task, transition });
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    if (error.cause instanceof ApplicationFailure && error.cause.nonRetryable === true) throw error;
    const failure = { code: unreachable, message: rootCause(error) ?? '', retryable: false };
    return { outcome: 'failed', failure };
  }
}
