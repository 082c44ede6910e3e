import { z } from 'zod';
import { endpoint } from '../http.api.ts';

const partSchema = z.strictObject({
  ok: z.boolean(),
  latency_ms: z.number().min(0),
  required: z.boolean().meta({ description: 'False when the service works on without it.' }),
  error: z.string().nullable(),
});

const shared = {
  listener: 'public',
  method: 'get',
  tag: 'health',
  auth: 'none',
  rate: 'none',
  idempotent: false,
  params: undefined,
  query: undefined,
  body: undefined,
} as const;

export const getHealthz = endpoint({
  ...shared,
  id: 'getHealthz',
  path: '/healthz',
  summary: 'The process lives',
  responses: {
    200: {
      description: 'Alive.',
      schema: z.strictObject({ status: z.literal('ok') }).meta({ id: 'Health' }),
    },
  },
  errors: [],
});

export const getReadyz = endpoint({
  ...shared,
  id: 'getReadyz',
  path: '/readyz',
  summary: 'Every part this process needs, by name',
  responses: {
    200: {
      description: 'Ready.',
      schema: z
        .strictObject({ status: z.literal('ready'), parts: z.record(z.string(), partSchema) })
        .meta({ id: 'Readiness' }),
    },
  },
  errors: ['service_unavailable'],
});

export const healthEndpoints = [getHealthz, getReadyz] as const;
