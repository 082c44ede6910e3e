/** Runs that continue as new, provoked by the engine's own setting. */
import proto from '@temporalio/proto';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { Lab } from '../harness/lab.ts';

/** An allocation that becomes active has more events than this; a run that has just resumed has fewer. */
export const suggestAfterEvents = { 'limit.historyCount.suggestContinueAsNew': 10 } as const;

export interface Run {
  readonly runId: string;
  readonly status: string;
  /** How many events it has. */
  readonly events: number;
  /** Names of the updates that it took. */
  readonly updates: readonly string[];
}

const accepted = proto.temporal.api.enums.v1.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED;

/** The chain of runs of an allocation, newest first, each begun by the one after it. */
export async function runsOf(lab: Lab, id: string): Promise<Run[]> {
  const runs: Run[] = [];
  const workflowId = allocationWorkflowId(asId(id));
  let next: string | undefined = (await lab.temporal.workflow.getHandle(workflowId).describe()).runId;
  while (next !== undefined && next !== '') {
    const runId: string = next;
    const handle = lab.temporal.workflow.getHandle(workflowId, runId);
    const [{ status }, { events }] = await Promise.all([handle.describe(), handle.fetchHistory()]);
    const updates = (events ?? []).flatMap((event) =>
      event.eventType === accepted
        ? (event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.name ?? [])
        : [],
    );
    runs.push({ runId, status: status.name, events: events?.length ?? 0, updates });
    next = events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId ?? undefined;
  }
  return runs;
}
