import { createHash } from 'node:crypto';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import {
  forceReleaseRequested,
  provisioningActive,
  provisioningFailed,
  provisioningRequested,
  releaseFailed,
  releasingCompleted,
  releasingRequested,
} from '../../contracts/allocations/allocation.events.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { outboxEntry, type OutboxEntry } from '../../db/outbox.ts';

const common = (row: AllocationRow) => ({
  aggregateId: row.id,
  aggregateSeq: row.version,
  correlationId: row.correlationId,
  occurredAt: row.stateSince,
});

const subject = (row: AllocationRow) => ({
  allocation_id: row.id,
  user_id: row.userId,
  project_id: row.projectId,
});

/** `gpuaas.provisioning.requested`, with the admission. */
export const requestedEvent = (row: AllocationRow): OutboxEntry =>
  outboxEntry(provisioningRequested, {
    ...common(row),
    idempotencyKey: [row.id],
    payload: {
      ...subject(row),
      node_id: row.nodeId,
      scheduler_type: row.schedulerType,
      org_id: row.orgId,
    },
  });

/**
 * The events of a transition, in the order in which consumers get them.
 * @param row as the transition leaves it.
 * @param why its reason, if anybody gave one.
 */
export function transitionEvents(
  row: AllocationRow,
  order: TransitionOrder,
  why: string | null,
): OutboxEntry[] {
  // What a command caused is told under that command's own correlation id.
  const base = { ...common(row), correlationId: order.correlationId };
  const reason = why ?? 'unspecified';
  const since = row.stateSince.toISOString();
  switch (order.event) {
    case 'provisioning_started':
      return [];
    case 'activated': {
      const activeAt = row.activeAt?.toISOString() ?? since;
      const payload = { ...subject(row), node_id: row.nodeId, active_at: activeAt };
      return [outboxEntry(provisioningActive, { ...base, idempotencyKey: [row.id, activeAt], payload })];
    }
    case 'provision_failed': {
      const idempotencyKey = [row.id, createHash('sha256').update(reason).digest('hex')];
      return [
        outboxEntry(provisioningFailed, { ...base, idempotencyKey, payload: { ...subject(row), reason } }),
      ];
    }
    case 'force_release_requested': {
      const idempotencyKey = [row.userId, row.id, String(row.version)];
      const payload = { user_id: row.userId, allocation_ids: [row.id], project_id: row.projectId, reason };
      return [
        outboxEntry(forceReleaseRequested, { ...base, idempotencyKey, payload }),
        releasingEvent(row, base, reason, 1),
      ];
    }
    case 'release_requested':
      return [releasingEvent(row, base, reason, 0)];
    case 'released': {
      const releasedAt = row.releasedAt?.toISOString() ?? since;
      const payload = { ...subject(row), released_at: releasedAt };
      return [outboxEntry(releasingCompleted, { ...base, idempotencyKey: [row.id, releasedAt], payload })];
    }
    case 'release_failed':
      return [
        outboxEntry(releaseFailed, {
          ...base,
          idempotencyKey: [row.id, since],
          payload: { ...subject(row), reason },
        }),
      ];
  }
}

const releasingEvent = (
  row: AllocationRow,
  base: ReturnType<typeof common>,
  reason: string,
  position: number,
): OutboxEntry =>
  outboxEntry(releasingRequested, {
    ...base,
    position,
    idempotencyKey: [row.id, String(row.version)],
    payload: { ...subject(row), reason },
  });
