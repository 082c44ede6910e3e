import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

/** A payment that reached the ledger. */
export const balanceCredited = channel({
  subject: 'platform.payments.balance_credited',
  messageName: 'BalanceCreditedEvent',
  operationId: 'publishBalanceCredited',
  direction: 'publish',
  description: 'A payment was credited to the ledger; once per payment.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      user_id: wireId,
      amount_minor: z.int().min(1),
      currency: z.string().regex(/^[A-Z]{3}$/),
      source: z.enum(['stripe_webhook']),
    })
    .meta({ id: 'BalanceCreditedPayload' }),
});

export const paymentSessionChannels = [balanceCredited] as const;
