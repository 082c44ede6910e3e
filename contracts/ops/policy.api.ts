import { z } from 'zod';
import { endpoint, instantSchema, pageOf, pageQuery } from '../http.api.ts';
import { policyKeys, type PolicyKey } from '../policies.ts';

const policyKey = z.enum(policyKeys as [PolicyKey, ...PolicyKey[]]);
const policyValue = z.union([z.int(), z.boolean(), z.string().min(1).max(200)]);

const policySchema = z
  .strictObject({
    key: policyKey,
    type: z.enum(['int', 'bool', 'string']),
    value: policyValue,
    default: policyValue,
    meaning: z.string(),
    updated_at: instantSchema.nullable().meta({ description: 'Null while the default stands.' }),
  })
  .meta({ id: 'Policy' });

const shared = { listener: 'public', tag: 'policies', auth: 'admin', rate: 'api' } as const;

export const adminListPolicies = endpoint({
  ...shared,
  id: 'adminListPolicies',
  method: 'get',
  path: '/api/v1/admin/policies',
  summary: 'Every policy key with its value and default',
  idempotent: false,
  params: undefined,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('PolicyPage', policySchema) } },
  errors: [],
});

export const adminSetPolicy = endpoint({
  ...shared,
  id: 'adminSetPolicy',
  method: 'put',
  path: '/api/v1/admin/policies/{policy_key}',
  summary: 'Set one policy value',
  description:
    'A value of another type or outside its bounds is a `validation_error`; so is `full-reimage`, which needs a MAAS ' +
    'adapter.',
  idempotent: true,
  audit: 'policy.set',
  params: z.object({
    policy_key: z
      .string()
      .regex(/^[a-z_]+\.[a-z_]+$/)
      .max(100),
  }),
  query: undefined,
  body: z.strictObject({ value: policyValue }).meta({ id: 'PolicySet' }),
  responses: { 200: { description: 'The policy as it is now.', schema: policySchema } },
  errors: ['policy_not_found', 'idempotency_key_reused'],
});

export const policyEndpoints = [adminListPolicies, adminSetPolicy] as const;
