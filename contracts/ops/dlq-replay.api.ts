import { z } from 'zod';
import { endpoint, instantSchema, lineOfText, pageOf, pageQuery, uuidParam } from '../http.api.ts';
import { deadLetterReasons } from './dead-letter.ts';
import { dlqReplayStates } from './dlq-replay.lifecycle.ts';
import { replayableStates } from './dlq-replay.messages.ts';
import { operationSchema } from './operation.api.ts';

const filterFields = {
  state: z
    .enum(replayableStates)
    .optional()
    .meta({ description: '`open` when left out; `replayed`: sent before, without an effect until now.' }),
  subject: z.string().min(1).max(200).optional(),
  consumer: z.string().min(1).max(200).optional().meta({ description: 'Name of the durable consumer.' }),
  reason: z.enum(deadLetterReasons).optional(),
  arrived_before: instantSchema
    .optional()
    .meta({ description: 'Only letters whose newest arrival was earlier.' }),
};

export const dlqReplaySchema = z
  .strictObject({
    id: z.uuid(),
    state: z.enum(dlqReplayStates),
    filter: z.strictObject({ dead_letter_id: z.uuid().optional(), ...filterFields }),
    dry_run: z.boolean(),
    matched: z.int().min(0).meta({ description: 'Letters that the filter met when it began.' }),
    replayed: z.int().min(0),
    skipped: z
      .int()
      .min(0)
      .meta({ description: 'Letters that somebody else had dealt with when their turn came.' }),
    waiting_on: z.string().nullable().meta({ description: 'What it waits for; null when it has ended.' }),
    reason: z.string(),
    requested_by: z.uuid(),
    correlation_id: z.string(),
    created_at: instantSchema,
    finished_at: instantSchema.nullable(),
  })
  .meta({ id: 'DlqReplay' });

export type DlqReplayView = z.infer<typeof dlqReplaySchema>;

const shared = { listener: 'public', tag: 'dead-letters', auth: 'admin', rate: 'api' } as const;
const reason = lineOfText(200).meta({ description: 'Why; kept in the audit log. Not for personal data.' });

export const adminCreateDlqReplay = endpoint({
  ...shared,
  id: 'adminCreateDlqReplay',
  method: 'post',
  path: '/api/v1/admin/dlq-replays',
  summary: 'Send all dead letters again that a filter meets, or count them',
  description:
    'Each goes to the one consumer that gave it up. Letters that arrive later are not touched. With `dry_run` nothing is ' +
    'sent and the answer tells how many the filter meets.',
  idempotent: true,
  audit: 'dlq_replay.create',
  params: undefined,
  query: undefined,
  body: z
    .strictObject({
      filter: z.strictObject(filterFields).default({}),
      dry_run: z.boolean().default(false),
      reason,
    })
    .meta({ id: 'DlqReplayCreate' }),
  responses: {
    201: { description: 'The replay; a dry run has ended.', schema: dlqReplaySchema },
    202: { description: 'Not begun yet; the operation tells.', schema: operationSchema },
  },
  errors: ['idempotency_key_reused', 'service_unavailable'],
});

export const adminListDlqReplays = endpoint({
  ...shared,
  id: 'adminListDlqReplays',
  method: 'get',
  path: '/api/v1/admin/dlq-replays',
  summary: 'Replays of dead letters, newest first',
  idempotent: false,
  params: undefined,
  query: z.strictObject({ state: z.enum(dlqReplayStates).optional(), ...pageQuery }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('DlqReplayPage', dlqReplaySchema) } },
  errors: [],
});

export const adminGetDlqReplay = endpoint({
  ...shared,
  id: 'adminGetDlqReplay',
  method: 'get',
  path: '/api/v1/admin/dlq-replays/{dlq_replay_id}',
  summary: 'One replay with its progress',
  idempotent: false,
  params: uuidParam('dlq_replay_id'),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The replay.', schema: dlqReplaySchema } },
  errors: ['dlq_replay_not_found'],
});

export const adminCancelDlqReplay = endpoint({
  ...shared,
  id: 'adminCancelDlqReplay',
  method: 'post',
  path: '/api/v1/admin/dlq-replays/{dlq_replay_id}/cancel',
  summary: 'End a replay early',
  description: 'What was sent stays sent; it stops after the present page of letters at the latest.',
  idempotent: true,
  audit: 'dlq_replay.cancel',
  params: uuidParam('dlq_replay_id'),
  query: undefined,
  body: z.strictObject({ reason }).meta({ id: 'DlqReplayCancel' }),
  responses: {
    200: { description: 'The replay, cancelled.', schema: dlqReplaySchema },
    202: { description: 'Not decided yet; the operation tells.', schema: operationSchema },
  },
  errors: ['dlq_replay_not_found', 'dlq_replay_not_running', 'idempotency_key_reused', 'service_unavailable'],
});

export const dlqReplayEndpoints = [
  adminCreateDlqReplay,
  adminListDlqReplays,
  adminGetDlqReplay,
  adminCancelDlqReplay,
] as const;
