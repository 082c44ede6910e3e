import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

const instant = z.iso.datetime({ offset: true });
const openObject = z.record(z.string(), z.unknown());
const uuidOrNull = wireId.nullable().optional();
const textOrNull = z.string().nullable().optional();

/** Usage of any product, for billing to take in. */
export const usageMetered = channel({
  subject: 'platform.billing.usage.metered',
  messageName: 'UsageMeteredEvent',
  operationId: 'publishUsageMetered',
  direction: 'publish',
  description: 'An interval of usage of any metered product.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      usage_event_id: wireId,
      usage_source: z.enum(['allocation', 'app_runtime']),
      usage_unit: z.enum(['gpu_hour', 'cpu_vm_hour', 'app_runtime_hour']),
      org_id: uuidOrNull,
      department_id: uuidOrNull,
      project_id: uuidOrNull,
      billing_account_id: uuidOrNull,
      actor_type: z.enum(['user', 'service_account', 'api_key', 'workload', 'system']).nullable().optional(),
      actor_id: textOrNull,
      requested_by_user_id: uuidOrNull,
      requested_by_service_account_id: uuidOrNull,
      credential_id: uuidOrNull,
      allocation_id: uuidOrNull,
      app_instance_id: uuidOrNull,
      product_id: textOrNull,
      resource_type: textOrNull,
      resource_id: textOrNull,
      region_code: textOrNull,
      sku: textOrNull,
      quantity_millis: z.int().min(0),
      unit_count: z.int().min(0),
      bill_from: instant,
      bill_to: instant,
      currency: z
        .string()
        .regex(/^[A-Z]{3}$/)
        .nullable()
        .optional(),
      pricing_source: textOrNull,
      pricing_plan_id: uuidOrNull,
      pricing_plan_version: textOrNull,
      rate_card_id: uuidOrNull,
      pricing_snapshot: openObject.optional(),
      operating_mode: z.enum(['tenant_dedicated', 'platform_managed']).nullable().optional(),
      control_plane_scope: z.enum(['project', 'tenant', 'platform']).nullable().optional(),
      runtime_backend: z.enum(['k8s', 'rke2', 'slurm', 'ray', 'bare_metal']).nullable().optional(),
      control_plane_component: z.boolean().optional(),
      idempotency_key: z.string(),
      request_id: textOrNull,
      source_correlation_id: textOrNull,
      reconciliation_status: z
        .enum(['accepted', 'rated', 'posted', 'reconciled', 'disputed'])
        .nullable()
        .optional(),
      metadata: openObject.optional(),
    })
    .meta({
      id: 'UsageMeteredPayload',
      description:
        'One interval of usage. `usage_event_id` and `idempotency_key` are the same in every repeat, so that no interval ' +
        'is rated or posted twice.',
    }),
});

export const usageChannels = [usageMetered] as const;
