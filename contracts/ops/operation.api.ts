import { z } from 'zod';
import { endpoint, errorEnvelopeSchema, instantSchema, uuidParam } from '../http.api.ts';

export const operationKinds = [
  'allocation.create',
  'allocation.release',
  'allocation.force_release',
  'dlq_replay.create',
  'dlq_replay.cancel',
] as const;
export type OperationKind = (typeof operationKinds)[number];

export const operationSchema = z
  .strictObject({
    id: z.uuid(),
    kind: z.enum(operationKinds),
    state: z.enum(['open', 'accepted', 'refused']).meta({
      description: '`open` is undecided; `accepted` and `refused` are final.',
    }),
    entity_id: z.uuid().meta({ description: 'The entity that it creates or commands.' }),
    entity_url: z.string(),
    error: errorEnvelopeSchema.nullable().meta({ description: 'Why it was refused.' }),
    created_at: instantSchema,
    decided_at: instantSchema.nullable(),
  })
  .meta({ id: 'Operation' });

export type OperationView = z.infer<typeof operationSchema>;

export const getOperation = endpoint({
  id: 'getOperation',
  method: 'get',
  path: '/api/v1/operations/{operation_id}',
  listener: 'public',
  tag: 'operations',
  summary: 'What became of a mutation',
  auth: 'user',
  rate: 'api',
  idempotent: false,
  params: uuidParam('operation_id'),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The operation.', schema: operationSchema } },
  errors: ['operation_not_found', 'ownership_required'],
});

export const operationEndpoints = [getOperation] as const;
