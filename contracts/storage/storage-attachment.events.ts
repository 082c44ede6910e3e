import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

const payload = z
  .strictObject({
    attachment_id: wireId,
    bucket_id: z.string(),
    project_id: wireId,
    allocation_id: wireId.nullable().optional(),
    workload_instance_id: wireId.nullable().optional(),
    node_id: wireId.nullable().optional(),
    provider_backend: z.enum(['local_dev', 'weka', 'vast', 'ddn', 'nvme_pool', 's3_compatible', 'unknown']),
    mount_path: z.string(),
    access_mode: z.enum(['read_only', 'read_write']),
    write_policy: z.enum(['single_writer', 'multi_writer']),
    state: z.enum([
      'requested',
      'prechecking',
      'grant_applying',
      'grant_applied',
      'mounting',
      'mounted',
      'failed',
      'detaching',
      'detached',
      'detach_failed',
    ]),
    reason: z.string().nullable().optional(),
  })
  .meta({ id: 'StorageAttachmentPayload' });

const shared = { direction: 'publish', version: '1.0', nats: usualDelivery, payload } as const;

/** The lifecycle of an attachment; every message tells the whole attachment. */
export const attachmentRequested = channel({
  ...shared,
  subject: 'storage.attachment.requested',
  messageName: 'StorageAttachmentRequestedEvent',
  operationId: 'publishStorageAttachmentRequested',
  description: 'An attach was accepted.',
});

export const detachRequested = channel({
  ...shared,
  subject: 'storage.attachment.detach_requested',
  messageName: 'StorageAttachmentDetachRequestedEvent',
  operationId: 'publishStorageAttachmentDetachRequested',
  description: 'A detach was accepted.',
});

export const attachmentMounted = channel({
  ...shared,
  subject: 'storage.attachment.mounted',
  messageName: 'StorageAttachmentMountedEvent',
  operationId: 'publishStorageAttachmentMounted',
  description: 'The node-agent mounted it and verified the mount.',
});

export const attachmentFailed = channel({
  ...shared,
  subject: 'storage.attachment.failed',
  messageName: 'StorageAttachmentFailedEvent',
  operationId: 'publishStorageAttachmentFailed',
  description: 'The attach failed; what it had done is undone, or its remainder recorded.',
});

export const attachmentDetached = channel({
  ...shared,
  subject: 'storage.attachment.detached',
  messageName: 'StorageAttachmentDetachedEvent',
  operationId: 'publishStorageAttachmentDetached',
  description: 'It is detached; the stored data stays.',
});

export const attachmentDetachFailed = channel({
  ...shared,
  subject: 'storage.attachment.detach_failed',
  messageName: 'StorageAttachmentDetachFailedEvent',
  operationId: 'publishStorageAttachmentDetachFailed',
  description: 'Every detach attempt failed; it waits for an operator.',
});

export const storageAttachmentChannels = [
  attachmentRequested,
  detachRequested,
  attachmentMounted,
  attachmentFailed,
  attachmentDetached,
  attachmentDetachFailed,
] as const;
