/** The engine's side of node tasks: heartbeats while an agent works, completion when it has reported. */
import {
  ActivityCancelledError,
  ActivityNotFoundError,
  ActivityPausedError,
  ActivityResetError,
  type Client,
} from '@temporalio/client';
import type { NodeTaskVerdict } from '../../contracts/nodes/node-task.tasks.ts';
import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';
import { markCompleted } from '../../db/nodes/node-task.store.ts';

type TaskOfActivity = Pick<NodeTaskRow, 'id' | 'workflowId' | 'runId' | 'activityId'>;

/** Half of the activity's heartbeat time-out. */
const heartbeatEveryMs = 2500;
const callDeadlineMs = 2000;

const addressOf = (task: TaskOfActivity) => ({
  workflowId: task.workflowId,
  runId: task.runId,
  activityId: task.activityId,
});

/**
 * Tells the engine the verdict that is stored already. The address, not an attempt's token: the stored result is the
 * same for every attempt, and one in back-off can be completed too.
 * @returns false when the engine could not be told; the reconciler will.
 */
export async function completeActivity(
  client: Client,
  db: Database,
  task: TaskOfActivity,
  verdict: NodeTaskVerdict,
): Promise<boolean> {
  assertNoConnectionHeld('temporal');
  try {
    await client.withDeadline(Date.now() + callDeadlineMs, () =>
      client.activity.complete(addressOf(task), verdict),
    );
  } catch (error) {
    // Known already, or superseded: the stored result has done its work.
    if (!(error instanceof ActivityNotFoundError)) return false;
  }
  await markCompleted(db.q, task.id);
  return true;
}

/** Heartbeats of running tasks, throttled; remembers which ones the engine wants stopped. */
export function createHeartbeats(client: Client, onCancel: (nodeId: string) => void) {
  const last = new Map<string, number>();
  const cancelled = new Set<string>();
  return {
    /** Fire and forget: the poll never waits for the engine. */
    beat(task: NodeTaskRow): void {
      const now = performance.now();
      if (now - (last.get(task.id) ?? -Infinity) < heartbeatEveryMs) return;
      last.set(task.id, now);
      const call = () => client.activity.heartbeat(addressOf(task));
      client.withDeadline(Date.now() + callDeadlineMs, call).catch((error: unknown) => {
        const stop =
          error instanceof ActivityCancelledError ||
          error instanceof ActivityPausedError ||
          error instanceof ActivityResetError;
        if (!stop) return;
        cancelled.add(task.id);
        onCancel(task.nodeId);
      });
    },
    isCancelled: (taskId: string): boolean => cancelled.has(taskId),
    forget(taskId: string): void {
      last.delete(taskId);
      cancelled.delete(taskId);
    },
  };
}
