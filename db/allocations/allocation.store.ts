import { and, eq, inArray, sql } from 'drizzle-orm';
import type { PgUpdateSetSource } from 'drizzle-orm/pg-core';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import {
  liveAllocationStates,
  nextAllocationState,
  type AllocationEvent,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import type { AllocationRequest } from '../../contracts/allocations/allocation.messages.ts';
import { allocationWaits } from '../../contracts/allocations/allocation.waits.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import type { AllocationRow } from './allocation.schema.ts';
import { allocations, timeline } from '../schema.ts';
import { isRepeat } from '../timeline.ts';

export const findAllocation = async (q: Queryable, id: string): Promise<AllocationRow | undefined> => {
  const [row] = await q.select().from(allocations).where(eq(allocations.id, id));
  return row;
};

/** Live allocations of a user. Call it with the user's row locked: the count is what the limit is checked against. */
export async function countLive(q: Queryable, userId: string): Promise<number> {
  return q.$count(
    allocations,
    and(eq(allocations.userId, userId), inArray(allocations.state, [...liveAllocationStates])),
  );
}

/** Inserts the row in state `requested` at version 1, with its first timeline entry. */
export async function insertAllocation(
  tx: Tx,
  id: string,
  nodeId: string,
  request: AllocationRequest,
): Promise<AllocationRow> {
  const [row] = await tx
    .insert(allocations)
    .values({
      id,
      nodeId,
      orgId: request.orgId,
      projectId: request.projectId,
      userId: request.userId,
      sku: request.sku,
      schedulerType: request.schedulerType,
      state: 'requested',
      version: 1,
      createOperationId: request.operationId,
      correlationId: request.correlationId,
      ...allocationWaits.requested,
      createdAt: now,
      stateSince: now,
    })
    .returning();
  if (row === undefined) throw new Error('the allocation was not inserted');
  await tx.insert(timeline).values({
    entityId: id,
    seq: 1,
    stem: 'allocation',
    event: 'requested',
    fromState: null,
    toState: 'requested',
    at: row.createdAt,
    actorType: 'user',
    actorUserId: request.userId,
    operationId: request.operationId,
    correlationId: request.correlationId,
  });
  return row;
}

/** `row` after the transition, or `repeat` when the very same transition was written by an earlier attempt. */
export type Written =
  | { readonly kind: 'written'; readonly row: AllocationRow; readonly from: AllocationState }
  | { readonly kind: 'repeat'; readonly row: AllocationRow };

/**
 * The only writer of `allocations.state`: moves the row along the table, at exactly the version that the caller saw, and
 * appends the timeline entry.
 * @param stoppedAt when the node proved that the tenant's work had ended, known with `released`.
 * @throws SecondWriterError when somebody else moved the row.
 */
export async function moveAllocation(
  tx: Tx,
  order: TransitionOrder,
  stoppedAt: Date | null = null,
): Promise<Written> {
  const current = await lockAllocation(tx, order.allocationId);
  const at = await expectedPosition(tx, order, current);
  const operationId = order.command?.operationId ?? null;
  if (at === undefined) {
    await isRepeat(tx, {
      entityId: order.allocationId,
      seq: current.version,
      event: order.event,
      operationId,
    });
    return { kind: 'repeat', row: current };
  }
  const to = nextAllocationState(at.state, order.event);
  if (to !== order.to) throw new Error(`${order.event} does not lead from ${at.state} to ${order.to}`);
  const [row] = await tx
    .update(allocations)
    .set({
      state: to,
      version: at.version + 1,
      stateSince: now,
      deadline: null,
      ...allocationWaits[to],
      ...instantsOf(order),
      ...(stoppedAt === null ? {} : { stoppedAt: clamped(stoppedAt) }),
    })
    .where(eq(allocations.id, order.allocationId))
    .returning();
  if (row === undefined) throw new Error('the allocation is gone');
  await tx.insert(timeline).values({
    entityId: row.id,
    seq: row.version,
    stem: 'allocation',
    event: order.event,
    fromState: at.state,
    toState: to,
    at: row.stateSince,
    actorType: order.command?.actorRole ?? 'system',
    actorUserId: order.command?.actorUserId ?? null,
    reason: order.reason ?? null,
    operationId,
    correlationId: order.correlationId,
  });
  return { kind: 'written', row, from: at.state };
}

/** Says in the row what a phase waits for, without a state change. */
export async function noteWait(
  tx: Tx,
  id: string,
  wait: { readonly waitingOn: string; readonly timeoutSeconds: number },
): Promise<void> {
  await tx
    .update(allocations)
    .set({
      waitingOn: wait.waitingOn,
      whoCanUnblock: 'node',
      deadline: sql`gpuaas_now() + make_interval(secs => ${wait.timeoutSeconds})`,
    })
    .where(eq(allocations.id, id));
}

/** Live rows, oldest first, after an id: what must have a run. */
export const liveAllocations = (q: Queryable, after: string, limit: number): Promise<AllocationRow[]> =>
  q
    .select()
    .from(allocations)
    .where(
      and(inArray(allocations.state, [...liveAllocationStates]), sql`${allocations.id} > ${after}::uuid`),
    )
    .orderBy(allocations.id)
    .limit(limit);

async function lockAllocation(tx: Tx, id: string): Promise<AllocationRow> {
  const [row] = await tx.select().from(allocations).where(eq(allocations.id, id)).for('update');
  if (row === undefined) throw new Error(`allocation ${id} has no row`);
  return row;
}

/** Where the row stands when the order fits it; undefined when the order's version is taken already. */
async function expectedPosition(
  tx: Tx,
  order: TransitionOrder,
  current: AllocationRow,
): Promise<{ version: number; state: AllocationState } | undefined> {
  if (current.version === order.version && current.state === order.from) return current;
  if (order.underWay === null || current.version !== order.version + 1) return undefined;
  const [last] = await tx
    .select({ event: timeline.event })
    .from(timeline)
    .where(and(eq(timeline.entityId, current.id), eq(timeline.seq, current.version)));
  return last?.event === order.underWay ? current : undefined;
}

/** An age that an agent told, as an instant that cannot lie before the tenant came or after now. */
const clamped = (at: Date) =>
  sql`least(greatest(${at.toISOString()}::timestamptz, coalesce(${allocations.activeAt}, ${allocations.createdAt})), gpuaas_now())`;

type Columns = PgUpdateSetSource<typeof allocations>;

function instantsOf(order: TransitionOrder): Columns {
  const columns: Partial<Record<AllocationEvent, Columns>> = {
    activated: { activeAt: now },
    release_requested: { releaseRequestedAt: sql`coalesce(${allocations.releaseRequestedAt}, gpuaas_now())` },
    force_release_requested: {
      releaseRequestedAt: sql`coalesce(${allocations.releaseRequestedAt}, gpuaas_now())`,
    },
    released: { releasedAt: now, failureReason: null },
    provision_failed: { failureReason: order.reason ?? 'unknown' },
    release_failed: { failureReason: order.reason ?? 'unknown' },
  };
  return columns[order.event] ?? {};
}
