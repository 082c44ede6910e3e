import { sql } from 'drizzle-orm';
import type { ReleaseCommand } from '../../contracts/allocations/allocation.messages.ts';
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { Queryable } from '../client.ts';
import { commandOf } from './operation.store.ts';

/** A command of which a run may know nothing. */
export interface UndeliveredCommand {
  readonly operationId: string;
  readonly caller: string;
  readonly route: string;
  readonly key: string;
  readonly command: ReleaseCommand;
  readonly allocationId: string;
  readonly state: AllocationState;
  readonly undecided: boolean;
}

/**
 * Commands older than `ageSeconds` that are undecided, and those that moved their row to `releasing` without any node
 * task following. The engine keeps an update only once a worker has accepted it: one that was lost with the engine, or
 * was never sent because its API process died, would wait for ever.
 */
export async function undeliveredCommands(
  q: Queryable,
  ageSeconds: number,
  limit: number,
): Promise<UndeliveredCommand[]> {
  const found = await q.execute<{
    operation_id: string;
    caller: string;
    route: string;
    key: string;
    request: Record<string, unknown>;
    allocation_id: string;
    state: AllocationState;
    undecided: boolean;
  }>(sql`
    select o.id as operation_id, o.caller, o.route, o.key, o.request, a.id as allocation_id, a.state, true as undecided
    from operations o join allocations a on a.id = o.entity_id
    where o.state = 'open' and o.kind in ('allocation.release', 'allocation.force_release')
      and o.created_at < gpuaas_now() - make_interval(secs => ${ageSeconds})
    union all
    select o.id, o.caller, o.route, o.key, o.request, a.id, a.state, false
    from allocations a
    join timeline t on t.entity_id = a.id and t.seq = a.version
    join operations o on o.id = t.operation_id
    where a.state = 'releasing' and a.state_since < gpuaas_now() - make_interval(secs => ${ageSeconds})
      and not exists (select 1 from node_tasks n where n.allocation_id = a.id and n.created_at >= a.state_since)
    limit ${limit}`);
  return found.rows.map((row) => ({
    operationId: row.operation_id,
    caller: row.caller,
    route: row.route,
    key: row.key,
    command: commandOf(row.request),
    allocationId: row.allocation_id,
    state: row.state,
    undecided: row.undecided,
  }));
}
