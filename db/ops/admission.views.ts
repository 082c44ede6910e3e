import { inArray, sql } from 'drizzle-orm';
import { liveAllocationStates } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import type { Queryable } from '../client.ts';
import { allocations } from '../schema.ts';

/**
 * Why an allocation would be refused right now, in one read-only statement; undefined when nothing speaks against it.
 * It spares the engine a run that can only refuse; admission in the workflow has the last word.
 */
export async function foreseeableRefusal(
  q: Queryable,
  wanted: {
    sku: string;
    projectId: string;
    userId: string;
    maxConcurrentPerUser: number;
    offlineAfterSeconds: number;
  },
): Promise<ErrorCode | undefined> {
  const found = await q.execute<{ offered: boolean; member: boolean; live: string; capacity: boolean }>(sql`
    select
      exists (select 1 from skus where code = ${wanted.sku} and offered) as offered,
      exists (select 1 from project_members
        where project_id = ${wanted.projectId} and user_id = ${wanted.userId}) as member,
      (select count(*) from allocations
        where user_id = ${wanted.userId} and ${inArray(allocations.state, [...liveAllocationStates])}) as live,
      exists (select 1 from nodes n where n.sku = ${wanted.sku} and n.state = 'available'
        and n.last_contact_at > gpuaas_now() - make_interval(secs => ${wanted.offlineAfterSeconds})
        and not exists (select 1 from placements p where p.node_id = n.id)) as capacity`);
  const row = found.rows[0];
  if (row === undefined) throw new Error('the look ahead gave no row');
  if (!row.offered) return 'sku_not_found';
  if (!row.member) return 'project_not_found';
  if (Number(row.live) >= wanted.maxConcurrentPerUser) return 'allocation_concurrency_limit';
  return row.capacity ? undefined : 'sku_unavailable';
}
