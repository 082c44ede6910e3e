import {
  provisioningActive,
  releaseFailed,
  releasingCompleted,
} from '../../../contracts/allocations/allocation.events.ts';
import { endMetering, startMetering } from '../../../db/billing/metered-allocation.store.ts';
import { effect, type Subscription } from '../subscription.ts';

/**
 * The interval in which an allocation is metered: from `active_at` to the earliest proven end. The events may come in
 * any order.
 */
export const meteringSubscriptions = (): Subscription[] => [
  effect('billing', provisioningActive, async (tx, { event: { payload } }) => {
    await startMetering(tx, {
      allocationId: payload.allocation_id,
      userId: payload.user_id,
      projectId: payload.project_id ?? null,
      nodeId: payload.node_id,
      startedAt: new Date(payload.active_at),
    });
    return undefined;
  }),

  effect('billing', releasingCompleted, async (tx, { event: { payload } }) => {
    await endMetering(tx, {
      allocationId: payload.allocation_id,
      userId: payload.user_id,
      projectId: payload.project_id ?? null,
      endedAt: new Date(payload.released_at),
      endedBy: releasingCompleted.subject,
    });
    return undefined;
  }),

  // A node that cannot be cleaned is not the tenant's to pay for.
  effect('billing', releaseFailed, async (tx, { event }) => {
    await endMetering(tx, {
      allocationId: event.payload.allocation_id,
      userId: event.payload.user_id,
      projectId: event.payload.project_id ?? null,
      endedAt: new Date(event.occurred_at),
      endedBy: releaseFailed.subject,
    });
    return undefined;
  }),
];
