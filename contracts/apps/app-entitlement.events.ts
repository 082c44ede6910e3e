import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

/** Which apps a project may run. */
export const entitlementUpdated = channel({
  subject: 'appplatform.catalog.entitlement.updated',
  messageName: 'AppEntitlementUpdatedEvent',
  operationId: 'publishAppEntitlementUpdated',
  direction: 'publish',
  description: 'An app was enabled, disabled or configured for a project.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      org_id: wireId,
      project_id: wireId,
      app_slug: z.string().regex(/^[a-z0-9][a-z0-9-]{1,62}$/),
      enabled: z.boolean(),
      policy_overrides: z.record(z.string(), z.unknown()),
      updated_by_user_id: wireId.nullable().optional(),
    })
    .meta({ id: 'AppEntitlementUpdatedPayload' }),
});

export const appEntitlementChannels = [entitlementUpdated] as const;
