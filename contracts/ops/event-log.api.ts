import { z } from 'zod';
import { wireId } from '../envelope.ts';
import { endpoint, instantSchema, pageOf, pageQuery } from '../http.api.ts';

const loggedEventSchema = z
  .strictObject({
    event_id: wireId,
    event_type: z.string(),
    version: z.string(),
    correlation_id: z.string(),
    occurred_at: instantSchema,
    received_at: instantSchema,
    stream: z.string(),
    stream_seq: z.int().min(0),
    payload: z.record(z.string(), z.unknown()).meta({ description: 'Without secrets.' }),
  })
  .meta({ id: 'LoggedEvent' });

export type LoggedEventView = z.infer<typeof loggedEventSchema>;

export const adminListEvents = endpoint({
  id: 'adminListEvents',
  method: 'get',
  path: '/api/v1/admin/events',
  listener: 'public',
  tag: 'events',
  summary: 'Events as they arrived, newest first',
  auth: 'admin',
  rate: 'api',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    subject: z.string().min(1).max(200).optional(),
    correlation_id: z.string().min(1).max(128).optional(),
    from: instantSchema.optional().meta({ description: 'Received then or later.' }),
    to: instantSchema.optional().meta({ description: 'Received earlier.' }),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('LoggedEventPage', loggedEventSchema) } },
  errors: [],
});

export const eventLogEndpoints = [adminListEvents] as const;
