/** The engine's side of node tasks: heartbeats while an agent works, completion when it has reported. */
import { ActivityCancelledError, ActivityNotFoundError, type Client } from '@temporalio/client';
import type { NodeTaskVerdict } from '../../contracts/nodes/node-task.tasks.ts';
import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';
import { markCompleted } from '../../db/nodes/node-task.store.ts';

type TaskOfActivity = Pick<NodeTaskRow, 'id' | 'workflowId' | 'runId' | 'activityId'>;

/** Busy polls come every 2 s, the activity's time-out is 5 s: each poll beats. */
const heartbeatEveryMs = 1500;
/** Tasks that end at another replica are forgotten after this. */
const forgetAfterMs = 60_000;
const rememberedMax = 20_000;
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
async function tell(client: Client, task: TaskOfActivity, verdict: NodeTaskVerdict): Promise<boolean> {
  assertNoConnectionHeld('temporal');
  try {
    await client.withDeadline(Date.now() + callDeadlineMs, () =>
      client.activity.complete(addressOf(task), forHistory(verdict)),
    );
    return true;
  } catch (error) {
    // Known already, or superseded: the stored result has done its work.
    return error instanceof ActivityNotFoundError;
  }
}

/** Tells the engine a stored verdict and notes that it was told. @returns false when one of the two failed. */
export async function completeActivity(
  client: Client,
  db: Database,
  task: TaskOfActivity,
  verdict: NodeTaskVerdict,
): Promise<boolean> {
  if (!(await tell(client, task, verdict))) return false;
  return markCompleted(db.q, [task.id]).then(
    () => true,
    () => false,
  );
}

/** How long a process gathers tasks that were told, to note them together. The reconciler waits much longer. */
const gatherMs = 100;

/** As `completeActivity` for many: fire and forget, and what was told is noted together. */
export function createCompletions(client: Client, db: Database) {
  let told: string[] = [];
  const note = () => {
    const ids = told;
    told = [];
    // Not noted: the reconciler tells it once more, the engine knows it already, and then it is noted.
    markCompleted(db.q, ids).catch(() => undefined);
  };
  return {
    async complete(task: TaskOfActivity, verdict: NodeTaskVerdict): Promise<void> {
      if (!(await tell(client, task, verdict))) return;
      if (told.push(task.id) === 1) setTimeout(note, gatherMs);
    },
  };
}

/** Heartbeats of running tasks, throttled; remembers which ones the engine wants stopped. */
export function createHeartbeats(client: Client, onCancel: (nodeId: string) => void) {
  const last = new Map<string, number>();
  const cancelled = new Set<string>();
  const forgetOld = (now: number) => {
    for (const [id, at] of last) {
      if (now - at < forgetAfterMs) continue;
      last.delete(id);
      cancelled.delete(id);
    }
  };
  return {
    /** Fire and forget: the poll never waits for the engine. */
    beat(task: NodeTaskRow): void {
      const now = performance.now();
      if (now - (last.get(task.id) ?? -Infinity) < heartbeatEveryMs) return;
      last.set(task.id, now);
      if (last.size > rememberedMax) forgetOld(now);
      const call = () => client.activity.heartbeat(addressOf(task));
      client.withDeadline(Date.now() + callDeadlineMs, call).catch((error: unknown) => {
        // A pause or a reset by an operator holds back the next attempt; the work of this one goes on.
        if (!(error instanceof ActivityCancelledError)) return;
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

/** What may stand in a history for ever: the node's own words stay in Postgres. */
const forHistory = (verdict: NodeTaskVerdict): NodeTaskVerdict =>
  verdict.outcome === 'failed' ? { ...verdict, failure: { ...verdict.failure, message: '' } } : verdict;
