import { z } from 'zod';
import { channel, slowDelivery, usualDelivery, wireId } from '../envelope.ts';

const identity = { shared_runtime_id: wireId, app_slug: z.string().regex(/^[a-z0-9][a-z0-9-]{1,62}$/) };
const runtimeBackend = z.enum(['k8s', 'slurm', 'ray', 'bare_metal']);
/** A shared runtime belongs to one tenant and serves all of it. */
const placement = {
  operating_mode: z.enum(['tenant_dedicated']),
  control_plane_scope: z.enum(['tenant']),
  runtime_backend: runtimeBackend,
  org_id: wireId,
};
const uuidOrNull = wireId.nullable().optional();
const textOrNull = z.string().nullable().optional();
const shared = { direction: 'publish', version: '1.0' } as const;

export const runtimeRequested = channel({
  ...shared,
  subject: 'appplatform.runtime.shared_runtime.requested',
  messageName: 'SharedAppRuntimeRequestedEvent',
  operationId: 'publishSharedAppRuntimeRequested',
  description: 'A shared runtime was accepted for a tenant.',
  nats: slowDelivery,
  payload: z
    .strictObject({
      ...identity,
      app_version: z.string(),
      ...placement,
      requested_by_user_id: uuidOrNull,
      operator_identity_ref: textOrNull,
    })
    .meta({ id: 'SharedAppRuntimeRequestedPayload' }),
});

export const runtimeRunning = channel({
  ...shared,
  subject: 'appplatform.runtime.shared_runtime.running',
  messageName: 'SharedAppRuntimeRunningEvent',
  operationId: 'publishSharedAppRuntimeRunning',
  description: 'It runs and takes work.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, ...placement, endpoint: textOrNull })
    .meta({ id: 'SharedAppRuntimeRunningPayload' }),
});

export const runtimeFailed = channel({
  ...shared,
  subject: 'appplatform.runtime.shared_runtime.failed',
  messageName: 'SharedAppRuntimeFailedEvent',
  operationId: 'publishSharedAppRuntimeFailed',
  description: 'It failed.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, org_id: wireId, reason: z.string() })
    .meta({ id: 'SharedAppRuntimeFailedPayload' }),
});

export const runtimeDeleting = channel({
  ...shared,
  subject: 'appplatform.runtime.shared_runtime.deleting',
  messageName: 'SharedAppRuntimeDeletingEvent',
  operationId: 'publishSharedAppRuntimeDeleting',
  description: 'Its deletion was accepted.',
  nats: usualDelivery,
  payload: z
    .strictObject({
      ...identity,
      runtime_backend: runtimeBackend,
      org_id: wireId,
      requested_by_user_id: uuidOrNull,
    })
    .meta({ id: 'SharedAppRuntimeDeletingPayload' }),
});

export const runtimeDeleted = channel({
  ...shared,
  subject: 'appplatform.runtime.shared_runtime.deleted',
  messageName: 'SharedAppRuntimeDeletedEvent',
  operationId: 'publishSharedAppRuntimeDeleted',
  description: 'It is gone.',
  nats: usualDelivery,
  payload: z
    .strictObject({ ...identity, org_id: wireId, deleted_at: z.iso.datetime({ offset: true }) })
    .meta({ id: 'SharedAppRuntimeDeletedPayload' }),
});

export const sharedRuntimeChannels = [
  runtimeRequested,
  runtimeRunning,
  runtimeFailed,
  runtimeDeleting,
  runtimeDeleted,
] as const;
