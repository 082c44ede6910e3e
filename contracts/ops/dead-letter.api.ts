import { z } from 'zod';
import { wireId } from '../envelope.ts';
import { endpoint, instantSchema, lineOfText, pageOf, pageQuery, uuidParam } from '../http.api.ts';
import { deadLetterReasons, deadLetterStates } from './dead-letter.ts';
import { dlqReplaySchema } from './dlq-replay.api.ts';
import { operationSchema } from './operation.api.ts';

const arrivalSchema = z.strictObject({
  dlq_seq: z.int().min(0),
  arrived_at: instantSchema,
  reason: z.enum(deadLetterReasons),
  error_code: z.string().nullable(),
  detail: z.string().nullable(),
  deliveries: z.int().min(0),
});

const deadLetterSchema = z
  .strictObject({
    id: z.uuid(),
    state: z.enum(deadLetterStates),
    resolved: z.boolean().meta({ description: 'It was replayed and its consumer has the effect.' }),
    consumer: z.string(),
    consumer_group: z.string(),
    subject: z.string(),
    event_id: wireId.nullable(),
    correlation_id: z.string().nullable(),
    reason: z.enum(deadLetterReasons).meta({ description: 'Of its newest arrival, as the fields below.' }),
    error_code: z.string().nullable(),
    detail: z.string().nullable(),
    deliveries: z.int().min(0),
    first_at: instantSchema,
    last_at: instantSchema,
    arrivals: z.int().min(1).meta({ description: 'How often it came to the DLQ.' }),
    replays: z.int().min(0).meta({ description: 'How often it was sent again.' }),
    discard_reason: z.string().nullable(),
    updated_at: instantSchema,
  })
  .meta({ id: 'DeadLetter' });

export type DeadLetterView = z.infer<typeof deadLetterSchema>;

const deadLetterDetailSchema = deadLetterSchema
  .extend({
    message_key: z.string(),
    stream: z.string().meta({ description: 'Where the consumer read it; `stream_seq` is its place there.' }),
    stream_seq: z.int().min(0),
    dlq_seq: z.int().min(0),
    headers: z
      .record(z.string(), z.string())
      .meta({ description: 'As the message in the DLQ carries them.' }),
    history: z.array(arrivalSchema).meta({ description: 'Its arrivals, oldest first.' }),
    body: z
      .record(z.string(), z.unknown())
      .nullable()
      .meta({ description: 'The message without secrets; null when it is no JSON object.' }),
    body_bytes: z.int().min(0),
    whole_body_bytes: z
      .int()
      .min(0)
      .nullable()
      .meta({
        description:
          'Length of a message that was too long to be kept with its headers: `body_bytes` of it are left, and it cannot be ' +
          'replayed. Null when all of it is there.',
      }),
  })
  .meta({ id: 'DeadLetterDetail' });

export type DeadLetterDetailView = z.infer<typeof deadLetterDetailSchema>;

const shared = { listener: 'public', tag: 'dead-letters', auth: 'admin', rate: 'api' } as const;

const orderSchema = z
  .strictObject({
    reason: lineOfText(200).meta({ description: 'Why; kept in the audit log. Not for personal data.' }),
  })
  .meta({ id: 'DeadLetterOrder' });

export const adminListDeadLetters = endpoint({
  ...shared,
  id: 'adminListDeadLetters',
  method: 'get',
  path: '/api/v1/admin/dead-letters',
  summary: 'Messages that a consumer gave up on, newest first',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    state: z.enum(deadLetterStates).optional(),
    subject: z.string().min(1).max(200).optional(),
    consumer: z.string().min(1).max(200).optional(),
    reason: z.enum(deadLetterReasons).optional(),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('DeadLetterPage', deadLetterSchema) } },
  errors: [],
});

export const adminGetDeadLetter = endpoint({
  ...shared,
  id: 'adminGetDeadLetter',
  method: 'get',
  path: '/api/v1/admin/dead-letters/{dead_letter_id}',
  summary: 'One dead letter with its history and its message',
  idempotent: false,
  params: uuidParam('dead_letter_id'),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The dead letter.', schema: deadLetterDetailSchema } },
  errors: ['dead_letter_not_found'],
});

export const adminReplayDeadLetter = endpoint({
  ...shared,
  id: 'adminReplayDeadLetter',
  method: 'post',
  path: '/api/v1/admin/dead-letters/{dead_letter_id}/replay',
  summary: 'Send one dead letter again, to the consumer that gave it up',
  description:
    'Starts a replay of this letter alone. A letter that was replayed and shows no effect may be replayed again.',
  idempotent: true,
  audit: 'dead_letter.replay',
  params: uuidParam('dead_letter_id'),
  query: undefined,
  body: orderSchema,
  responses: {
    201: { description: 'The replay.', schema: dlqReplaySchema },
    202: { description: 'Not begun yet; the operation tells.', schema: operationSchema },
  },
  errors: [
    'dead_letter_not_found',
    'dead_letter_not_open',
    'dead_letter_not_replayable',
    'idempotency_key_reused',
    'service_unavailable',
  ],
});

export const adminDiscardDeadLetter = endpoint({
  ...shared,
  id: 'adminDiscardDeadLetter',
  method: 'post',
  path: '/api/v1/admin/dead-letters/{dead_letter_id}/discard',
  summary: 'Close a dead letter without its effect',
  description:
    'One that is open, or was replayed and has shown no effect. It stays readable and is never replayed. Should the ' +
    'message arrive once more, it is open again. A replay that was sent before and is still on its way is not called ' +
    'back: it may have its effect afterwards.',
  idempotent: true,
  audit: 'dead_letter.discard',
  params: uuidParam('dead_letter_id'),
  query: undefined,
  body: orderSchema,
  responses: { 200: { description: 'The dead letter as it is now.', schema: deadLetterSchema } },
  errors: ['dead_letter_not_found', 'dead_letter_not_open', 'idempotency_key_reused'],
});

export const deadLetterEndpoints = [
  adminListDeadLetters,
  adminGetDeadLetter,
  adminReplayDeadLetter,
  adminDiscardDeadLetter,
] as const;
