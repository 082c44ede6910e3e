import { z } from 'zod';
import { endpoint, uuidParam } from '../http.api.ts';
import { nodeCleanupTaskTypes, type NodeTaskKind } from './node-task.tasks.ts';

const pciAddress = z.string().regex(/^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$/);
const allocationId = z.uuid();

/** OS user name of a tenant, as `TerminalOpenTaskParams.username`. */
export const posixUsername = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/);
/** POSIX uid or gid of a tenant, as `TerminalOpenTaskParams.uid`. */
export const posixId = z.int().min(10000).max(199999);

export const allocationPrepareParams = z
  .strictObject({
    allocation_id: allocationId,
    user_id: z.uuid(),
    username: posixUsername,
    uid: posixId,
    gid: posixId,
    authorized_keys: z.array(z.string()).meta({ description: 'OpenSSH public keys, one line each.' }),
    gpu_slots: z.array(z.int().min(0)),
    reason: z.string(),
  })
  .meta({ id: 'NodeAllocationPrepareTaskParams' });

export const allocationCleanupParams = z
  .strictObject({
    allocation_id: allocationId,
    username: posixUsername,
    uid: posixId,
    reason: z.string(),
  })
  .meta({ id: 'NodeAllocationCleanupTaskParams' });

export const gpuScrubParams = z
  .strictObject({
    allocation_id: allocationId.optional(),
    mode: z.enum(['reset', 'verify_only']),
    gpu_pci_addresses: z.array(pciAddress).optional(),
    container_runtime: z.enum(['docker', 'containerd', 'none']).optional(),
    reason: z.string(),
  })
  .meta({ id: 'NodeGPUScrubTaskParams' });

export const storageCleanupParams = z
  .strictObject({
    allocation_id: allocationId.optional(),
    paths: z.array(z.string()).min(1),
    delete_empty_dirs: z.boolean().optional(),
    wipe_block_devices: z.array(z.string()).optional(),
    reason: z.string(),
  })
  .meta({ id: 'NodeStorageCleanupTaskParams' });

export const validateCleanParams = z
  .strictObject({
    allocation_id: allocationId.optional(),
    checks: z
      .array(z.enum(['gpu_processes', 'runtime_containers', 'mounts', 'paths', 'block_devices']))
      .min(1),
    paths: z.array(z.string()).optional(),
    block_devices: z.array(z.string()).optional(),
    gpu_pci_addresses: z.array(pciAddress).optional(),
    reason: z.string(),
  })
  .meta({ id: 'NodeValidateCleanTaskParams' });

/** Parameters by kind. */
export const nodeTaskParams = {
  'node.allocation_prepare': allocationPrepareParams,
  'node.allocation_cleanup': allocationCleanupParams,
  'node.gpu_scrub': gpuScrubParams,
  'node.storage_cleanup': storageCleanupParams,
  'node.validate_clean': validateCleanParams,
} as const satisfies Record<NodeTaskKind, z.ZodType>;

export const nodeCleanupTaskResult = z
  .strictObject({
    task_type: z.enum(nodeCleanupTaskTypes),
    allocation_id: allocationId.optional(),
    clean: z.boolean().optional(),
    scrubbed: z.boolean().optional(),
    cleaned: z.boolean().optional(),
    findings: z.array(z.record(z.string(), z.unknown())).optional(),
    proof: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'NodeCleanupTaskResult' });

export const allocationPrepareResult = z
  .strictObject({
    task_type: z.literal('node.allocation_prepare'),
    allocation_id: allocationId,
    username: posixUsername,
    uid: posixId,
    gid: posixId,
    authorized_key_count: z.int().min(0),
  })
  .meta({ id: 'NodeAllocationPrepareTaskResult' });

/** Longest age that an agent may tell, in seconds: a year. An instant is made of it. */
export const maxStoppedAgeSeconds = 31_536_000;

export const allocationCleanupResult = z
  .strictObject({
    task_type: z.literal('node.allocation_cleanup'),
    allocation_id: allocationId,
    stopped_age_seconds: z
      .number()
      .min(0)
      .max(maxStoppedAgeSeconds)
      .meta({ description: 'How long ago, on a monotonic clock, the last process ended.' }),
    processes_ended: z.int().min(0),
    user_removed: z.boolean(),
  })
  .meta({ id: 'NodeAllocationCleanupTaskResult' });

/** Results by kind. */
export const nodeTaskResults = {
  'node.allocation_prepare': allocationPrepareResult,
  'node.allocation_cleanup': allocationCleanupResult,
  'node.gpu_scrub': nodeCleanupTaskResult,
  'node.storage_cleanup': nodeCleanupTaskResult,
  'node.validate_clean': nodeCleanupTaskResult,
} as const satisfies Record<NodeTaskKind, z.ZodType>;

const taskFields = {
  task_id: z.uuid(),
  node_id: z.uuid(),
  allocation_id: allocationId.nullable(),
  fence: z
    .int()
    .min(1)
    .meta({ description: 'Grows per node; a lower one than seen for the allocation is stale.' }),
  issued_at: z.iso.datetime({ offset: true }),
  expires_at: z.iso.datetime({ offset: true }),
  correlation_id: z.string(),
  traceparent: z.string().nullable(),
};

/** A task as it travels: the exact bytes that were signed, and the Ed25519 signature over them. */
export const signedNodeTaskSchema = z
  .strictObject({
    payload: z
      .string()
      .meta({ description: 'JSON of a NodeTask; verify the signature over these bytes, then parse.' }),
    signature: z.string().meta({ description: 'Ed25519 over the UTF-8 bytes of `payload`, base64url.' }),
  })
  .meta({ id: 'SignedNodeTask' });

export const nodeTaskSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      ...taskFields,
      kind: z.literal('node.allocation_prepare'),
      params: allocationPrepareParams,
    }),
    z.strictObject({
      ...taskFields,
      kind: z.literal('node.allocation_cleanup'),
      params: allocationCleanupParams,
    }),
    z.strictObject({ ...taskFields, kind: z.literal('node.gpu_scrub'), params: gpuScrubParams }),
    z.strictObject({ ...taskFields, kind: z.literal('node.storage_cleanup'), params: storageCleanupParams }),
    z.strictObject({ ...taskFields, kind: z.literal('node.validate_clean'), params: validateCleanParams }),
  ])
  .meta({ id: 'NodeTask' });
export type NodeTask = z.infer<typeof nodeTaskSchema>;

/** The versions and the variant that `z.uuid()` takes too. */
const uuidPattern = '[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
const uuidList = z
  .string()
  .max(4096)
  .regex(new RegExp(`^${uuidPattern}(,${uuidPattern})*$`));

const shared = { listener: 'internal', tag: 'node-agents', auth: 'node', rate: 'none' } as const;

export const waitForTasks = endpoint({
  ...shared,
  id: 'waitForTasks',
  method: 'get',
  path: '/internal/v1/nodes/{node_id}/tasks/wait',
  summary: 'Long poll: tasks to start, tasks to cancel',
  description:
    'Answers at once when there is something, else when the hold ends, with empty lists. `running` names the tasks ' +
    'that the agent is working on: the call is their heartbeat. A task of the node that is neither finished nor named ' +
    'is offered again.',
  idempotent: false,
  params: uuidParam('node_id'),
  query: z.strictObject({
    running: uuidList.optional(),
    hold_seconds: z.coerce.number().int().min(0).max(30).default(25),
  }),
  body: undefined,
  responses: {
    200: {
      description: 'What to do now.',
      schema: z
        .strictObject({
          tasks: z.array(signedNodeTaskSchema),
          cancel: z
            .array(z.uuid())
            .meta({ description: 'Running tasks to stop: superseded, cancelled or unknown.' }),
          server_time: z.iso.datetime({ offset: true }),
        })
        .meta({ id: 'NodeTaskBatch' }),
    },
  },
  errors: ['node_not_found', 'service_unavailable'],
});

export const postTaskResult = endpoint({
  ...shared,
  id: 'postTaskResult',
  method: 'post',
  path: '/internal/v1/nodes/{node_id}/tasks/{task_id}/result',
  summary: 'Report how a task ended',
  description:
    'Idempotent: the first report wins, a repeat answers 200 with `duplicate`. A stale fence is refused with 409. An ' +
    'error code by which the plane itself speaks of tasks is kept as `reported_<code>`.',
  idempotent: false,
  params: z.object({ node_id: z.uuid(), task_id: z.uuid() }),
  query: undefined,
  body: z
    .discriminatedUnion('outcome', [
      z.strictObject({
        fence: z.int().min(1),
        outcome: z.literal('succeeded'),
        result: z.record(z.string(), z.unknown()),
      }),
      z.strictObject({
        fence: z.int().min(1),
        outcome: z.literal('failed'),
        error: z.strictObject({
          code: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/),
          message: z.string().max(500),
          retryable: z.boolean(),
        }),
      }),
      z.strictObject({ fence: z.int().min(1), outcome: z.literal('cancelled') }),
    ])
    .meta({ id: 'NodeTaskReport' }),
  responses: {
    200: {
      description: 'Stored.',
      schema: z.strictObject({ duplicate: z.boolean() }).meta({ id: 'NodeTaskReceipt' }),
    },
  },
  errors: ['node_task_not_found', 'node_task_fenced', 'service_unavailable'],
});

export const nodeTaskEndpoints = [waitForTasks, postTaskResult] as const;
