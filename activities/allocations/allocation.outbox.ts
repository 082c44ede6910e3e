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
import type { Tx } from '../../db/client.ts';
import { publish } from '../../db/outbox.ts';

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
export async function publishRequested(tx: Tx, row: AllocationRow): Promise<void> {
  await publish(tx, provisioningRequested, {
    ...common(row),
    idempotencyKey: [row.id],
    payload: {
      ...subject(row),
      node_id: row.nodeId,
      scheduler_type: row.schedulerType,
      org_id: row.orgId,
    },
  });
}

/** The events of a transition, in the order in which consumers get them. */
export async function publishTransition(tx: Tx, row: AllocationRow, order: TransitionOrder): Promise<void> {
  // What a command caused is told under that command's own correlation id.
  const base = { ...common(row), correlationId: order.correlationId };
  const reason = order.reason ?? 'unspecified';
  const version = String(row.version);
  switch (order.event) {
    case 'provisioning_started':
      return;
    case 'activated': {
      const activeAt = row.activeAt ?? row.stateSince;
      await publish(tx, provisioningActive, {
        ...base,
        idempotencyKey: [row.id, activeAt.toISOString()],
        payload: { ...subject(row), node_id: row.nodeId, active_at: activeAt.toISOString() },
      });
      return;
    }
    case 'provision_failed':
      await publish(tx, provisioningFailed, {
        ...base,
        idempotencyKey: [row.id, createHash('sha256').update(reason).digest('hex')],
        payload: { ...subject(row), reason },
      });
      return;
    case 'force_release_requested':
      await publish(tx, forceReleaseRequested, {
        ...base,
        idempotencyKey: [row.userId, row.id, version],
        payload: { user_id: row.userId, allocation_ids: [row.id], project_id: row.projectId, reason },
      });
      await publishReleasing(tx, row, order, 1);
      return;
    case 'release_requested':
      await publishReleasing(tx, row, order, 0);
      return;
    case 'released': {
      const releasedAt = (row.releasedAt ?? row.stateSince).toISOString();
      await publish(tx, releasingCompleted, {
        ...base,
        idempotencyKey: [row.id, releasedAt],
        payload: { ...subject(row), released_at: releasedAt },
      });
      return;
    }
    case 'release_failed':
      await publish(tx, releaseFailed, {
        ...base,
        idempotencyKey: [row.id, row.stateSince.toISOString()],
        payload: { ...subject(row), reason },
      });
  }
}

async function publishReleasing(
  tx: Tx,
  row: AllocationRow,
  order: TransitionOrder,
  position: number,
): Promise<void> {
  await publish(tx, releasingRequested, {
    ...common(row),
    correlationId: order.correlationId,
    position,
    idempotencyKey: [row.id, String(row.version)],
    payload: { ...subject(row), reason: order.reason ?? 'unspecified' },
  });
}
