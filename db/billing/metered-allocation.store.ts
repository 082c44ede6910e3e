import type { Queryable } from '../client.ts';
import { remembering } from '../ops/event.store.ts';
import { statement } from '../statement.ts';

/** Who is metered for what, and which event says so to whom. */
export interface MeteringNews {
  readonly consumer: string;
  readonly eventId: string;
  readonly allocationId: string;
  readonly userId: string;
  readonly projectId: string | null;
}

const parametersOf = (of: MeteringNews) => ({
  consumer: of.consumer,
  event_id: of.eventId,
  allocation_id: of.allocationId,
  user_id: of.userId,
  project_id: of.projectId,
});

const startStatement = statement(
  'metering-start',
  `with ${remembering}, metered as (
    insert into metered_allocations as m (allocation_id, user_id, project_id, node_id, started_at, recorded_at)
    select :allocation_id::uuid, :user_id::uuid, :project_id::uuid, :node_id::uuid, :started_at::timestamptz, gpuaas_now()
    from remembered
    on conflict (allocation_id) do update set
      started_at = coalesce(m.started_at, excluded.started_at), node_id = coalesce(m.node_id, excluded.node_id)
  )
  select event_id from remembered`,
);

/**
 * Metering begins. An end that was heard of first stays, and the first start stands.
 * @returns false when the consumer had this event before.
 */
export async function startMetering(
  q: Queryable,
  of: MeteringNews & { readonly nodeId: string; readonly startedAt: Date },
): Promise<boolean> {
  const rows = await startStatement(q, {
    ...parametersOf(of),
    node_id: of.nodeId,
    started_at: of.startedAt,
  });
  return rows.length > 0;
}

const isEarlier = `(m.ended_at is null or excluded.ended_at < m.ended_at)`;

const endStatement = statement(
  'metering-end',
  `with ${remembering}, metered as (
    insert into metered_allocations as m (allocation_id, user_id, project_id, ended_at, ended_by, recorded_at)
    select :allocation_id::uuid, :user_id::uuid, :project_id::uuid, :ended_at::timestamptz, :ended_by::text, gpuaas_now()
    from remembered
    on conflict (allocation_id) do update set
      ended_at = case when ${isEarlier} then excluded.ended_at else m.ended_at end,
      ended_by = case when ${isEarlier} then excluded.ended_by else m.ended_by end
  )
  select event_id from remembered`,
);

/**
 * Metering ends, for good: of several ends the earliest stands.
 * @returns false when the consumer had this event before.
 */
export async function endMetering(
  q: Queryable,
  of: MeteringNews & { readonly endedAt: Date; readonly endedBy: string },
): Promise<boolean> {
  const rows = await endStatement(q, { ...parametersOf(of), ended_at: of.endedAt, ended_by: of.endedBy });
  return rows.length > 0;
}
