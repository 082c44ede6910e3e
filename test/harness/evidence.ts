/** Everything that tells what became of an allocation, for the failure of a test. */
import { sql } from 'drizzle-orm';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { Lab } from './lab.ts';

const historyEvents = 60;

/**
 * Rows, run, engine's pending work, calls and worker logs of every allocation of a SKU, as text. Never throws: what cannot be
 * read is told in its place.
 */
export async function evidenceOf(lab: Lab, sku: string): Promise<string> {
  const rows = (what: string, query: ReturnType<typeof sql>) =>
    section(what, async () => (await lab.db.q.execute(query)).rows);
  const ids = await idsOf(lab, sku);
  const perAllocation = ids.flatMap((id) => [
    rows('allocation', sql`select * from allocations where id = ${id}::uuid`),
    rows(
      'operations',
      sql`select id, kind, state, outcome, created_at, decided_at from operations
                           where entity_id = ${id}::uuid order by created_at`,
    ),
    rows('timeline', sql`select * from timeline where entity_id = ${id}::uuid order by seq`),
    rows(
      'tasks',
      sql`select kind, state, attempt, activity_id, verdict, created_at from node_tasks
                      where allocation_id = ${id}::uuid order by created_at`,
    ),
    section('run', () => runOf(lab, id)),
    section('calls', () => Promise.resolve(lab.faults.trail(id))),
  ]);
  const sections = await Promise.all([
    ...perAllocation,
    section('worker deaths', () => Promise.resolve(lab.processes?.deaths ?? [])),
    section('api log', () =>
      Promise.resolve(lab.api.log.filter((line) => ids.some((id) => line.includes(id)))),
    ),
  ]);
  return [`evidence of ${sku}`, ...sections, lab.processes?.logTail() ?? ''].join('\n');
}

async function idsOf(lab: Lab, sku: string): Promise<string[]> {
  try {
    const found = await lab.db.q.execute<{ id: string }>(
      sql`select distinct entity_id::text as id from operations where request->>'sku' = ${sku}`,
    );
    return found.rows.map((row) => row.id);
  } catch {
    return [];
  }
}

async function runOf(lab: Lab, id: string): Promise<unknown> {
  const handle = lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id)));
  const { status, runId, historyLength, raw } = await handle.describe();
  const { events } = await handle.fetchHistory();
  return {
    status: status.name,
    runId,
    historyLength,
    pendingActivities: raw.pendingActivities,
    pendingWorkflowTask: raw.pendingWorkflowTask,
    events: (events ?? [])
      .slice(-historyEvents)
      .map((event) => `${String(event.eventId)} ${String(event.eventType)}`),
  };
}

async function section(what: string, read: () => Promise<unknown>): Promise<string> {
  try {
    const found = await read();
    const lines = Array.isArray(found) ? (found as unknown[]) : [found];
    return [
      `${what}:`,
      ...lines.map((line) => `  ${typeof line === 'string' ? line : JSON.stringify(line)}`),
    ].join('\n');
  } catch (error) {
    return `${what}: cannot be read: ${error instanceof Error ? error.message : 'unknown'}`;
  }
}
