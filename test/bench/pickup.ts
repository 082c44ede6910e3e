/** From "the engine has scheduled the activity" to "the agent has the task", out of the engine's own histories. */
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Arrival } from './fleet.ts';
import { parseHistory, scheduledActivities, type RecordedHistory } from './shape.ts';

/** A run's history in its JSON form. */
export async function recordHistory(client: Client, workflowId: string): Promise<RecordedHistory> {
  const json: unknown = historyToJSON(await client.workflow.getHandle(workflowId).fetchHistory());
  return parseHistory(typeof json === 'string' ? JSON.parse(json) : json);
}

const prefix = 'allocation-';

/** Latencies of every task of the runs, in ms; both clocks are this machine's, the agent's ticks in whole ms. */
export async function pickupLatencies(
  client: Client,
  workflowIds: readonly string[],
  arrivals: readonly Arrival[],
): Promise<number[]> {
  const at = new Map(arrivals.map((one) => [`${one.allocation_id} ${one.kind}`, one.at]));
  const latencies: number[] = [];
  for (const workflowId of workflowIds) {
    for (const { summary, scheduledAtMs } of scheduledActivities(await recordHistory(client, workflowId))) {
      const arrived = at.get(`${workflowId.slice(prefix.length)} ${summary ?? ''}`);
      if (arrived !== undefined) latencies.push(arrived - scheduledAtMs);
    }
  }
  return latencies;
}
