import { z } from 'zod';
import { channel, usualDelivery, wireId } from '../envelope.ts';

const currency = z.string().regex(/^[A-Z]{3}$/);
const instant = z.iso.datetime({ offset: true });
const hours = z.number().min(0);

/** What an account is told about its balance and its budgets; consumers subscribe. */
export const lowBalanceWarning = channel({
  subject: 'platform.billing.low_balance_warning',
  messageName: 'LowBalanceWarningEvent',
  operationId: 'onLowBalanceWarning',
  direction: 'subscribe',
  description: 'The balance fell below its warning threshold; once per crossing.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      user_id: wireId,
      balance_minor: z.int(),
      threshold_minor: z.int(),
      currency,
      projected_depletion_at: instant.nullable().optional(),
      projected_hours_remaining: hours.nullable().optional(),
    })
    .meta({ id: 'LowBalanceWarningPayload' }),
});

export const balanceDepleted = channel({
  subject: 'platform.billing.balance_depleted',
  messageName: 'BalanceDepletedEvent',
  operationId: 'onBalanceDepleted',
  direction: 'subscribe',
  description: 'The balance is used up; `selected_action` says what happens to what still runs.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      user_id: wireId,
      balance_minor: z.int(),
      currency,
      active_allocation_ids: z.array(wireId).optional(),
      active_app_instance_ids: z.array(wireId).optional(),
      selected_action: z.enum(['restrict', 'force_release']).optional(),
      projected_depletion_at: instant.nullable().optional(),
      projected_hours_remaining: hours.nullable().optional(),
    })
    .meta({ id: 'BalanceDepletedPayload' }),
});

export const autoReleasePending = channel({
  subject: 'platform.billing.auto_release_pending',
  messageName: 'AutoReleasePendingEvent',
  operationId: 'onAutoReleasePending',
  direction: 'subscribe',
  description: 'At the present rate the balance ends soon, and these allocations with it.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      user_id: wireId,
      currency,
      projected_depletion_at: instant,
      projected_hours_remaining: hours,
      active_allocation_ids: z.array(wireId).min(1),
    })
    .meta({ id: 'AutoReleasePendingPayload' }),
});

export const budgetThresholdCrossed = channel({
  subject: 'platform.billing.budget_threshold_crossed',
  messageName: 'BudgetThresholdCrossedEvent',
  operationId: 'onBudgetThresholdCrossed',
  direction: 'subscribe',
  description: 'A budget passed one of its thresholds; budgets notify and stop nothing.',
  version: '1.0',
  nats: usualDelivery,
  payload: z
    .strictObject({
      org_id: wireId,
      project_id: wireId.nullable().optional(),
      budget_policy_id: wireId,
      threshold_key: z.string(),
      scope_type: z.enum(['tenant', 'project']),
      spent_minor: z.int().min(0),
      budget_minor: z.int().min(1),
      currency,
      percent_used: z.int().min(0),
      period_start: instant,
      period_end: instant,
      recipient_user_ids: z.array(wireId).optional(),
    })
    .meta({ id: 'BudgetThresholdCrossedPayload' }),
});

export const accountWatchChannels = [
  lowBalanceWarning,
  balanceDepleted,
  autoReleasePending,
  budgetThresholdCrossed,
] as const;
