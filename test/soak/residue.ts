/** What may not be left when every lifecycle has ended. */
import type { Client } from '@temporalio/client';
import { inArray, sql } from 'drizzle-orm';
import { liveAllocationStates } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { Database } from '../../db/client.ts';
import { allocations } from '../../db/schema.ts';

export type Residue = Readonly<Record<string, number>>;

/** Counts by kind; all 0 is clean. */
export async function readResidue(db: Database, temporal: Client): Promise<Residue> {
  const found = await db.q.execute<Record<string, string>>(sql`
    select
      (select count(*) from ${allocations} where ${inArray(allocations.state, [...liveAllocationStates])}) as "live allocations",
      (select count(*) from placements) as "placements",
      (select count(*) from operations where state = 'open') as "open operations",
      (select count(*) from node_tasks where state in ('queued', 'offered')) as "open node tasks",
      (select count(*) from node_tasks where result_at is not null and completed_at is null) as "untold results",
      (select count(*) from outbox where published_at is null) as "unpublished events",
      (select count(*) from nodes where state = 'quarantined') as "quarantined nodes"`);
  const open = await temporal.workflow.count(`ExecutionStatus = 'Running'`);
  const rows = Object.entries(found.rows[0] ?? {}).map(([name, count]) => [name, Number(count)] as const);
  return { ...Object.fromEntries(rows), 'open runs': open.count };
}

export const isClean = (residue: Residue): boolean => Object.values(residue).every((count) => count === 0);
