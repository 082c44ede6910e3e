import { randomUUID } from 'node:crypto';
import type { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import type { publish } from '../../db/outbox.ts';

type Failure = Parameters<typeof publish<typeof provisioningFailed>>[2];

/** A `gpuaas.provisioning.failed` of an aggregate that nobody has, for outboxes to be filled with. */
export const sampleEvent = (aggregateId: string, aggregateSeq: number): Failure => ({
  aggregateId,
  aggregateSeq,
  idempotencyKey: [aggregateId, String(aggregateSeq)],
  correlationId: aggregateId,
  occurredAt: new Date(),
  payload: {
    allocation_id: aggregateId,
    user_id: randomUUID(),
    project_id: randomUUID(),
    reason: 'node_unreachable',
  },
});
