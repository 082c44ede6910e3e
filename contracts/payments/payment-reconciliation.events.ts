import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

/** A payment that the provider and the ledger tell differently. */
export const reconcileFailed = channel({
  subject: 'platform.payments.reconcile_failed',
  messageName: 'ReconcileFailedEvent',
  operationId: 'publishReconcileFailed',
  direction: 'publish',
  description: 'The provider and the ledger disagree about a payment session; support has to look.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      user_id: wireId,
      payment_session_id: wireId,
      stripe_session_id: z.string(),
      reason: z.string(),
    })
    .meta({ id: 'ReconcileFailedPayload' }),
});

export const paymentReconciliationChannels = [reconcileFailed] as const;
