import { z } from 'zod';
import { endpoint, instantSchema, lineOfText, pageOf, pageQuery, uuidParam } from '../http.api.ts';
import { operationSchema } from '../ops/operation.api.ts';
import { allocationEvents, allocationStates } from './allocation.lifecycle.ts';
import { schedulerTypes } from './allocation.messages.ts';

export const skuCode = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,62}$/)
  .meta({ description: 'SKU code from the catalogue.', example: 'h100-8x' });

export const allocationSchema = z
  .strictObject({
    id: z.uuid(),
    org_id: z.uuid(),
    project_id: z.uuid(),
    user_id: z.uuid(),
    sku: skuCode,
    scheduler_type: z.enum(schedulerTypes),
    state: z.enum(allocationStates),
    node_id: z.uuid().nullable(),
    connection: z
      .strictObject({ host: z.string(), port: z.int().min(1).max(65535), username: z.string() })
      .nullable()
      .meta({ description: 'How to connect by SSH; null unless active.' }),
    waiting_on: z
      .string()
      .nullable()
      .meta({ description: 'What the lifecycle waits for; null when nothing.' }),
    failure_reason: z.string().nullable(),
    created_at: instantSchema,
    state_since: instantSchema,
    active_at: instantSchema.nullable(),
    released_at: instantSchema.nullable(),
  })
  .meta({ id: 'Allocation' });

export type AllocationView = z.infer<typeof allocationSchema>;

export const allocationCreateSchema = z
  .strictObject({
    project_id: z.uuid(),
    sku: skuCode,
    scheduler_type: z.enum(schedulerTypes).default('bare_metal'),
  })
  .meta({ id: 'AllocationCreate' });

const releaseReason = lineOfText(200).meta({
  description: 'Why; shown in the timeline and in events. Not for personal data.',
});

const timelineEntrySchema = z
  .strictObject({
    seq: z.int().min(1),
    event: z.enum(['requested', ...allocationEvents]),
    from_state: z.enum(allocationStates).nullable(),
    to_state: z.enum(allocationStates),
    at: instantSchema,
    elapsed_ms: z.int().min(0).meta({ description: 'Milliseconds since the entry before; 0 for the first.' }),
    actor_type: z.enum(['user', 'admin', 'system']),
    reason: z.string().nullable(),
    correlation_id: z.string(),
  })
  .meta({ id: 'TimelineEntry' });

export const explainSchema = z
  .strictObject({
    allocation_id: z.uuid(),
    state: z.enum(allocationStates),
    since: instantSchema,
    waiting_on: z.string().nullable(),
    deadline: instantSchema.nullable(),
    who_can_unblock: z.enum(['nobody', 'user', 'admin', 'node', 'platform']).meta({
      description: 'Who can move it on: `node` the agent, `platform` the control plane itself.',
    }),
    node_task: z
      .strictObject({
        id: z.uuid(),
        kind: z.string(),
        state: z.string(),
        offered_at: instantSchema.nullable(),
        last_seen_at: instantSchema.nullable(),
        attempt: z.int().min(1).nullable().meta({
          description: 'Which attempt of its phase the task belongs to; null when that phase is over.',
        }),
        max_attempts: z.int().min(1).nullable().meta({
          description: 'Attempts that its phase has; null when that phase is over.',
        }),
        next_attempt_at: instantSchema.nullable().meta({
          description: 'When the task that failed is tried again; null when none is due.',
        }),
        failure_code: z.string().nullable().meta({ description: 'Why the node failed; null unless it did.' }),
      })
      .nullable()
      .meta({ description: 'The newest task; null when no node was asked yet.' }),
    node: z
      .strictObject({
        id: z.uuid(),
        last_contact_at: instantSchema
          .nullable()
          .meta({ description: 'When its agent last called; null when it never did.' }),
        silent_for_seconds: z.int().min(0).nullable().meta({
          description:
            'Seconds since then; null as long as the node counts as there, or when it never called.',
        }),
      })
      .nullable()
      .meta({ description: 'The node that it holds; admins see it after the end too.' }),
    workflow: z
      .strictObject({
        id: z.string(),
        run_id: z.string(),
        status: z.string(),
        ui_url: z.string().nullable(),
        step_due_since: instantSchema.nullable().meta({
          description: 'Since when a step waits for a worker; null when none has waited for long.',
        }),
        last_worker_poll_at: instantSchema.nullable().meta({
          description:
            'When a worker last asked for steps, while one waits; null when none waits, or no poll is known.',
        }),
        pending_activities: z.array(
          z.strictObject({
            type: z.string(),
            attempt: z.int(),
            state: z.string(),
            last_error: z.string().nullable(),
            next_retry_at: instantSchema.nullable(),
          }),
        ),
      })
      .nullable()
      .meta({ description: 'Null when the run is closed and forgotten, or the engine cannot be reached.' }),
  })
  .meta({ id: 'AllocationExplanation' });

const stateFilter = {
  state: z.enum(allocationStates).optional(),
  sku: skuCode.optional(),
  project_id: z.uuid().optional(),
};
const one = uuidParam('allocation_id');
const shared = { listener: 'public', tag: 'allocations', rate: 'api' } as const;
const accepted = {
  description: 'Accepted; the work goes on. Follow the operation.',
  schema: operationSchema,
};

export const createAllocation = endpoint({
  ...shared,
  id: 'createAllocation',
  method: 'post',
  path: '/api/v1/allocations',
  summary: 'Allocate a whole node of a SKU',
  description:
    'Places the request at once: 201 with the allocation in state `requested`. 202 when the engine answers late: the ' +
    'work goes on and the same key finds the result. A refusal is final under its key.',
  auth: 'user',
  idempotent: true,
  params: undefined,
  query: undefined,
  body: allocationCreateSchema,
  responses: { 201: { description: 'Placed.', schema: allocationSchema }, 202: accepted },
  errors: [
    'sku_not_found',
    'sku_unavailable',
    'project_not_found',
    'ownership_required',
    'allocation_concurrency_limit',
    'insufficient_balance',
    'idempotency_key_reused',
    'service_unavailable',
  ],
});

export const listAllocations = endpoint({
  ...shared,
  id: 'listAllocations',
  method: 'get',
  path: '/api/v1/allocations',
  summary: 'List the allocations of your projects, newest first',
  auth: 'user',
  idempotent: false,
  params: undefined,
  query: z.strictObject({ ...stateFilter, ...pageQuery }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('AllocationPage', allocationSchema) } },
  errors: [],
});

export const getAllocation = endpoint({
  ...shared,
  id: 'getAllocation',
  method: 'get',
  path: '/api/v1/allocations/{allocation_id}',
  summary: 'One allocation, with how to connect',
  auth: 'user',
  idempotent: false,
  params: one,
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The allocation.', schema: allocationSchema } },
  errors: ['allocation_not_found', 'ownership_required'],
});

export const releaseAllocation = endpoint({
  ...shared,
  id: 'releaseAllocation',
  method: 'post',
  path: '/api/v1/allocations/{allocation_id}/release',
  summary: 'Release an allocation, or retry a failed release',
  description: 'In `requested` and `provisioning` it cancels. The body may be empty.',
  auth: 'user',
  idempotent: true,
  params: one,
  query: undefined,
  body: z.strictObject({ reason: releaseReason.optional() }).optional().meta({ id: 'AllocationRelease' }),
  responses: { 202: accepted },
  errors: [
    'allocation_not_found',
    'allocation_not_active',
    'allocation_already_releasing',
    'ownership_required',
    'idempotency_key_reused',
    'service_unavailable',
  ],
});

export const getAllocationTimeline = endpoint({
  ...shared,
  id: 'getAllocationTimeline',
  method: 'get',
  path: '/api/v1/allocations/{allocation_id}/timeline',
  summary: 'Every state change, oldest first',
  auth: 'user',
  idempotent: false,
  params: one,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('TimelinePage', timelineEntrySchema) } },
  errors: ['allocation_not_found', 'ownership_required'],
});

export const explainAllocation = endpoint({
  ...shared,
  id: 'explainAllocation',
  method: 'get',
  path: '/api/v1/allocations/{allocation_id}/explain',
  summary: 'What it waits for, since when, until when, and who can unblock it',
  auth: 'user',
  idempotent: false,
  params: one,
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The explanation.', schema: explainSchema } },
  errors: ['allocation_not_found', 'ownership_required'],
});

export const adminListAllocations = endpoint({
  ...shared,
  id: 'adminListAllocations',
  method: 'get',
  path: '/api/v1/admin/allocations',
  summary: 'List the allocations of every organisation, newest first',
  auth: 'admin',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    ...stateFilter,
    org_id: z.uuid().optional(),
    user_id: z.uuid().optional(),
    node_id: z.uuid().optional(),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('AdminAllocationPage', allocationSchema) } },
  errors: [],
});

export const adminForceReleaseAllocation = endpoint({
  ...shared,
  id: 'adminForceReleaseAllocation',
  method: 'post',
  path: '/api/v1/admin/allocations/{allocation_id}/force-release',
  summary: 'Fence the node, clean it, prove it clean, release it',
  description: 'Never skips the cleanup. Also takes up a release that failed or that is stuck.',
  auth: 'admin',
  idempotent: true,
  audit: 'allocation.force_release',
  params: one,
  query: undefined,
  body: z.strictObject({ reason: releaseReason }).meta({ id: 'AllocationForceRelease' }),
  responses: { 202: accepted },
  errors: ['allocation_not_found', 'allocation_not_active', 'idempotency_key_reused', 'service_unavailable'],
});

export const allocationEndpoints = [
  createAllocation,
  listAllocations,
  getAllocation,
  releaseAllocation,
  getAllocationTimeline,
  explainAllocation,
  adminListAllocations,
  adminForceReleaseAllocation,
] as const;
