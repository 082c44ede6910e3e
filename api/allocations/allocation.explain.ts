import type { z } from 'zod';
import type { explainSchema } from '../../contracts/allocations/allocation.api.ts';
import { allocationWorkflowId, asId, type AllocationId } from '../../contracts/ids.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { latestTask } from '../../db/allocations/allocation.views.ts';
import type { ApiDeps } from '../deps.ts';

type Explanation = z.infer<typeof explainSchema>;

/** The engine's part is a help, not the truth: it gets this long, then the rest is served without it. */
const describeDeadlineMs = 1000;

/** What an allocation waits for: the row's own columns, its newest node task, and what only the engine knows. */
export async function explain(deps: ApiDeps, row: AllocationRow, isAdmin: boolean): Promise<Explanation> {
  const task = await latestTask(deps.db.q, row.id);
  return {
    allocation_id: row.id,
    state: row.state,
    since: row.stateSince.toISOString(),
    waiting_on: row.waitingOn,
    deadline: row.deadline?.toISOString() ?? null,
    who_can_unblock: row.whoCanUnblock,
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
    workflow: await describeRun(deps, asId(row.id), isAdmin),
  };
}

async function describeRun(
  deps: ApiDeps,
  id: AllocationId,
  isAdmin: boolean,
): Promise<Explanation['workflow']> {
  try {
    const handle = deps.temporal.workflow.getHandle(allocationWorkflowId(id));
    const seen = await deps.temporal.withDeadline(Date.now() + describeDeadlineMs, () => handle.describe());
    const { namespace } = deps.temporal.options;
    return {
      id: seen.workflowId,
      run_id: seen.runId,
      status: seen.status.name.toLowerCase(),
      ui_url:
        isAdmin && deps.config.temporalUiUrl !== undefined
          ? `${deps.config.temporalUiUrl}/namespaces/${namespace}/workflows/${seen.workflowId}/${seen.runId}/history`
          : null,
      pending_activities: (seen.raw.pendingActivities ?? []).map((activity) => ({
        type: activity.activityType?.name ?? 'unknown',
        attempt: activity.attempt ?? 1,
        state: pendingStates[Number(activity.state ?? 0)] ?? 'unspecified',
        last_error: isAdmin ? (activity.lastFailure?.message ?? null) : null,
        next_retry_at: instantOf(activity.nextAttemptScheduleTime),
      })),
    };
  } catch {
    return null;
  }
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

const instantOf = (stamp: { seconds?: unknown } | null | undefined): string | null =>
  stamp?.seconds === undefined || stamp.seconds === null
    ? null
    : new Date(Number(String(stamp.seconds)) * 1000).toISOString();
