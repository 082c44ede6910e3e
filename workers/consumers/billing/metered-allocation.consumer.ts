import {
  provisioningActive,
  releaseFailed,
  releasingCompleted,
} from '../../../contracts/allocations/allocation.events.ts';
import type { EventEnvelope } from '../../../contracts/envelope.ts';
import {
  endMetering,
  startMetering,
  type MeteringNews,
} from '../../../db/billing/metered-allocation.store.ts';
import { record, type Subscription } from '../subscription.ts';

interface Parties {
  readonly allocation_id: string;
  readonly user_id: string;
  readonly project_id?: string | null | undefined;
}

const newsOf = (consumer: string, { event_id, payload }: EventEnvelope<Parties>): MeteringNews => ({
  consumer,
  eventId: event_id,
  allocationId: payload.allocation_id,
  userId: payload.user_id,
  projectId: payload.project_id ?? null,
});

/**
 * The interval in which an allocation is metered: from `active_at` to the earliest proven end. The events may come in
 * any order.
 */
export const meteringSubscriptions = (): Subscription[] => [
  record('billing', provisioningActive, (q, consumer, { event }) =>
    startMetering(q, {
      ...newsOf(consumer, event),
      nodeId: event.payload.node_id,
      startedAt: new Date(event.payload.active_at),
    }),
  ),

  record('billing', releasingCompleted, (q, consumer, { event }) =>
    endMetering(q, {
      ...newsOf(consumer, event),
      endedAt: new Date(event.payload.released_at),
      endedBy: releasingCompleted.subject,
    }),
  ),

  // A node that cannot be cleaned is not the tenant's to pay for.
  record('billing', releaseFailed, (q, consumer, { event }) =>
    endMetering(q, {
      ...newsOf(consumer, event),
      endedAt: new Date(event.occurred_at),
      endedBy: releaseFailed.subject,
    }),
  ),
];
