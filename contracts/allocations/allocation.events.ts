import { z } from 'zod';
import { channel, wireId } from '../envelope.ts';
import { schedulerTypes } from './allocation.messages.ts';

const projectId = wireId.nullable().optional();
const slow = { ackWaitSeconds: 45, maxDeliver: 20 };
const usual = { ackWaitSeconds: 30, maxDeliver: 10 };

/** The seven channels of the allocation lifecycle; payloads exactly as the source contract. */
export const provisioningRequested = channel({
  subject: 'gpuaas.provisioning.requested',
  messageName: 'ProvisionRequestedEvent',
  operationId: 'publishProvisionRequested',
  direction: 'publish',
  version: '1.0',
  nats: slow,
  payload: z
    .strictObject({
      allocation_id: wireId,
      user_id: wireId,
      node_id: wireId.nullable().optional(),
      scheduler_type: z.enum(schedulerTypes),
      org_id: wireId.nullable().optional(),
      project_id: projectId,
    })
    .meta({ id: 'ProvisionRequestedPayload' }),
});

export const provisioningActive = channel({
  subject: 'gpuaas.provisioning.active',
  messageName: 'AllocationActiveEvent',
  operationId: 'publishAllocationActive',
  direction: 'publish',
  version: '1.0',
  nats: usual,
  payload: z
    .strictObject({
      allocation_id: wireId,
      user_id: wireId,
      node_id: wireId,
      active_at: z.iso.datetime({ offset: true }),
      project_id: projectId,
    })
    .meta({ id: 'AllocationActivePayload' }),
});

export const provisioningFailed = channel({
  subject: 'gpuaas.provisioning.failed',
  messageName: 'ProvisionFailedEvent',
  operationId: 'publishProvisionFailed',
  direction: 'publish',
  version: '1.0',
  nats: usual,
  payload: z
    .strictObject({ allocation_id: wireId, user_id: wireId, project_id: projectId, reason: z.string() })
    .meta({ id: 'ProvisionFailedPayload' }),
});

export const releasingRequested = channel({
  subject: 'gpuaas.provisioning.releasing.requested',
  messageName: 'ReleasingRequestedEvent',
  operationId: 'publishReleasingRequested',
  direction: 'publish',
  version: '1.0',
  nats: slow,
  payload: z
    .strictObject({ allocation_id: wireId, user_id: wireId, project_id: projectId, reason: z.string() })
    .meta({ id: 'ReleasingRequestedPayload' }),
});

export const releasingCompleted = channel({
  subject: 'gpuaas.provisioning.releasing.completed',
  messageName: 'ReleasingCompletedEvent',
  operationId: 'publishReleasingCompleted',
  direction: 'publish',
  version: '1.0',
  nats: usual,
  payload: z
    .strictObject({
      allocation_id: wireId,
      user_id: wireId,
      released_at: z.iso.datetime({ offset: true }),
      project_id: projectId,
    })
    .meta({ id: 'ReleasingCompletedPayload' }),
});

export const forceReleaseRequested = channel({
  subject: 'gpuaas.provisioning.force_release_requested',
  messageName: 'ForceReleaseRequestedEvent',
  operationId: 'publishForceReleaseRequested',
  direction: 'publish',
  description: 'Requests forced release for specific active allocations.',
  version: '1.0',
  nats: slow,
  payload: z
    .strictObject({
      user_id: wireId,
      allocation_ids: z.array(wireId).min(1),
      project_id: projectId,
      reason: z.string(),
    })
    .meta({ id: 'ForceReleaseRequestedPayload' }),
});

export const releaseFailed = channel({
  subject: 'gpuaas.provisioning.release_failed',
  messageName: 'ReleaseFailedEvent',
  operationId: 'publishReleaseFailed',
  direction: 'publish',
  description:
    'Published when every release attempt is exhausted. Consumers stop accrual and alert user and admin; the node ' +
    'stays assigned until the release is retried.',
  version: '1.0',
  nats: usual,
  payload: z
    .strictObject({ allocation_id: wireId, user_id: wireId, project_id: projectId, reason: z.string() })
    .meta({ id: 'ReleaseFailedPayload' }),
});

export const allocationChannels = [
  provisioningRequested,
  provisioningActive,
  provisioningFailed,
  releasingRequested,
  releasingCompleted,
  forceReleaseRequested,
  releaseFailed,
] as const;
