import { z } from 'zod';
import { channel, slowDelivery, usualDelivery, wireId } from '../envelope.ts';

const identity = {
  app_instance_id: wireId,
  app_slug: z.string().regex(/^[a-z0-9][a-z0-9-]{1,62}$/),
};
const placement = {
  operating_mode: z.enum(['tenant_dedicated', 'platform_managed']),
  control_plane_scope: z.enum(['project', 'tenant', 'platform']),
  runtime_backend: z.enum(['k8s', 'slurm', 'ray', 'bare_metal']),
};
const owner = { org_id: wireId, project_id: wireId };
const uuidOrNull = wireId.nullable().optional();
const requester = { requested_by_user_id: uuidOrNull, requested_by_service_account_id: uuidOrNull };
const actors = { ...requester, operator_service_account_id: uuidOrNull };
const app_version = z.string();
const versions = { app_version, previous_app_version: z.string() };
const shared = { direction: 'publish', version: '1.0' } as const;

export const instanceRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.requested',
  messageName: 'AppInstanceRequestedEvent',
  operationId: 'publishAppInstanceRequested',
  description: 'A deployment was accepted.',
  nats: slowDelivery,
  payload: z
    .strictObject({
      ...identity,
      app_artifact_id: uuidOrNull,
      app_version,
      ...placement,
      tenant_boundary_mode: z.enum(['tenant_isolated', 'shared_service']),
      ...owner,
      ...actors,
    })
    .meta({ id: 'AppInstanceRequestedPayload' }),
});

export const instanceRunning = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.running',
  messageName: 'AppInstanceRunningEvent',
  operationId: 'publishAppInstanceRunning',
  description: 'It runs.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...placement, ...owner, endpoint: z.string().nullable().optional() })
    .meta({ id: 'AppInstanceRunningPayload' }),
});

export const instanceFailed = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.failed',
  messageName: 'AppInstanceFailedEvent',
  operationId: 'publishAppInstanceFailed',
  description: 'Its deployment or its runtime failed.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...placement, ...owner, reason: z.string() })
    .meta({ id: 'AppInstanceFailedPayload' }),
});

export const instanceDeleting = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.deleting',
  messageName: 'AppInstanceDeletingEvent',
  operationId: 'publishAppInstanceDeleting',
  description: 'Its deletion was accepted.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...placement, ...owner, ...requester })
    .meta({ id: 'AppInstanceDeletingPayload' }),
});

export const upgradeRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.upgrade_requested',
  messageName: 'AppInstanceUpgradeRequestedEvent',
  operationId: 'publishAppInstanceUpgradeRequested',
  description: 'An upgrade was accepted.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...versions, ...placement, ...owner, ...actors })
    .meta({ id: 'AppInstanceUpgradeRequestedPayload' }),
});

export const rollbackRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.rollback_requested',
  messageName: 'AppInstanceRollbackRequestedEvent',
  operationId: 'publishAppInstanceRollbackRequested',
  description: 'A rollback was accepted.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...versions, ...placement, ...owner, ...actors })
    .meta({ id: 'AppInstanceRollbackRequestedPayload' }),
});

export const decommissionRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.decommission_requested',
  messageName: 'AppInstanceDecommissionRequestedEvent',
  operationId: 'publishAppInstanceDecommissionRequested',
  description: 'A decommission was accepted.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, app_version, ...placement, ...owner, ...actors })
    .meta({ id: 'AppInstanceDecommissionRequestedPayload' }),
});

const lifecyclePayload = z
  .strictObject({
    ...identity,
    app_version,
    ...owner,
    ...actors,
    operation: z.enum(['stop', 'start', 'restart']),
  })
  .meta({ id: 'AppInstanceLifecycleRequestedPayload' });

export const stopRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.stop_requested',
  messageName: 'AppInstanceStopRequestedEvent',
  operationId: 'publishAppInstanceStopRequested',
  description: 'A stop was accepted; its data stays.',
  nats: usualDelivery,
  payload: lifecyclePayload,
});

export const startRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.start_requested',
  messageName: 'AppInstanceStartRequestedEvent',
  operationId: 'publishAppInstanceStartRequested',
  description: 'A start of a stopped instance was accepted.',
  nats: usualDelivery,
  payload: lifecyclePayload,
});

export const restartRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.restart_requested',
  messageName: 'AppInstanceRestartRequestedEvent',
  operationId: 'publishAppInstanceRestartRequested',
  description: 'A restart was accepted; its data stays.',
  nats: usualDelivery,
  payload: lifecyclePayload,
});

export const instanceDeleted = channel({
  ...shared,
  subject: 'appplatform.runtime.instance.deleted',
  messageName: 'AppInstanceDeletedEvent',
  operationId: 'publishAppInstanceDeleted',
  description: 'It is gone, after a deletion or a decommission.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...placement, ...owner, deleted_at: z.iso.datetime({ offset: true }) })
    .meta({ id: 'AppInstanceDeletedPayload' }),
});

export const appInstanceChannels = [
  instanceRequested,
  instanceRunning,
  instanceFailed,
  instanceDeleting,
  upgradeRequested,
  rollbackRequested,
  decommissionRequested,
  stopRequested,
  startRequested,
  restartRequested,
  instanceDeleted,
] as const;
