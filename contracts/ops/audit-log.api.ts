import { z } from 'zod';
import { endpoint, instantSchema, pageOf, pageQuery } from '../http.api.ts';

const auditLogSchema = z
  .strictObject({
    id: z.string(),
    at: instantSchema,
    actor_user_id: z.uuid().nullable(),
    actor_role: z.enum(['user', 'admin', 'node', 'system']),
    action: z.string(),
    target_type: z.string(),
    target_id: z.string().nullable(),
    result: z.enum(['succeeded', 'refused']),
    correlation_id: z.string(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditLog' });

export const adminListAuditLogs = endpoint({
  id: 'adminListAuditLogs',
  method: 'get',
  path: '/api/v1/admin/audit-logs',
  listener: 'public',
  tag: 'audit',
  summary: 'Audit rows, newest first',
  auth: 'admin',
  rate: 'api',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    actor_user_id: z.uuid().optional(),
    action: z.string().min(1).max(100).optional(),
    target_type: z.string().min(1).max(100).optional(),
    target_id: z.string().min(1).max(100).optional(),
    result: z.enum(['succeeded', 'refused']).optional(),
    correlation_id: z.string().min(1).max(128).optional(),
    from: instantSchema.optional(),
    to: instantSchema.optional(),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('AuditLogPage', auditLogSchema) } },
  errors: [],
});

export const auditLogEndpoints = [adminListAuditLogs] as const;
