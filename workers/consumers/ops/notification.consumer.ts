/**
 * What users and operators are told about events. Texts say what happened and what to do; they hold ids and amounts and
 * nothing about persons. A kind that a policy turned off is consumed and told to nobody.
 */
import {
  provisioningActive,
  provisioningFailed,
  releaseFailed,
  releasingCompleted,
} from '../../../contracts/allocations/allocation.events.ts';
import {
  autoReleasePending,
  balanceDepleted,
  budgetThresholdCrossed,
  lowBalanceWarning,
} from '../../../contracts/billing/account-watch.events.ts';
import type { AnyChannel, EventEnvelope, PayloadOf } from '../../../contracts/envelope.ts';
import {
  operatorsRecipient,
  type NotificationSeverity,
  type NotificationType,
} from '../../../contracts/ops/notification.ts';
import { reconcileFailed } from '../../../contracts/payments/payment-reconciliation.events.ts';
import { balanceCredited } from '../../../contracts/payments/payment-session.events.ts';
import type { Tx } from '../../../db/client.ts';
import type { NewNotification, Notifier } from '../../../db/ops/notification.store.ts';
import { budgetRecipients } from '../../../db/ops/notification.views.ts';
import type { PolicyReader } from '../../../db/ops/policy.store.ts';
import { informedEffect, type Subscription } from '../subscription.ts';

export interface NotificationConsumerDeps {
  readonly notifier: Notifier;
  readonly policies: PolicyReader;
  /** Base address of the user interface, for links; without it notifications have none. */
  readonly publicUrl: string | undefined;
}

/** One text for one recipient. */
interface Told {
  readonly to: string;
  readonly severity: NotificationSeverity;
  readonly type?: NotificationType;
  readonly title: string;
  readonly message: string;
  /** Path in the user interface. */
  readonly path?: string;
}

type Tell<C extends AnyChannel> = (
  payload: PayloadOf<C>,
  tx: Tx,
) => readonly Told[] | Promise<readonly Told[]>;

/** Subscriptions of the group `notification-relay`. */
export function notificationSubscriptions(deps: NotificationConsumerDeps): Subscription[] {
  const always = (): Promise<boolean> => Promise.resolve(true);
  const when =
    (policy: 'notification.low_balance_enabled' | 'notification.balance_depleted_enabled') =>
    (): Promise<boolean> =>
      deps.policies.get(policy);
  const told = <C extends AnyChannel>(channel: C, tell: Tell<C>, isWanted = always): Subscription =>
    informedEffect('notification-relay', channel, isWanted, async (tx, { event }, wanted) => {
      const list = wanted ? await tell(event.payload, tx) : [];
      return await deps.notifier.notify(tx, list.map(notificationOf(channel, event, deps.publicUrl)));
    });
  return [
    told(provisioningActive, tellActive),
    told(provisioningFailed, tellFailed),
    told(releasingCompleted, tellReleased),
    told(releaseFailed, tellReleaseFailed),
    told(lowBalanceWarning, tellLowBalance, when('notification.low_balance_enabled')),
    told(autoReleasePending, tellAutoRelease),
    told(balanceDepleted, tellDepleted, when('notification.balance_depleted_enabled')),
    told(budgetThresholdCrossed, tellBudget),
    told(balanceCredited, tellCredited),
    told(reconcileFailed, tellReconcileFailed),
  ];
}

const notificationOf =
  (channel: AnyChannel, event: EventEnvelope, publicUrl: string | undefined) =>
  ({ to, severity, type = 'info', title, message, path }: Told): NewNotification => ({
    recipient: to,
    eventId: event.event_id,
    subject: channel.subject,
    severity,
    type,
    title,
    message,
    actionUrl: publicUrl === undefined || path === undefined ? null : linkTo(publicUrl, path),
    occurredAt: new Date(event.occurred_at),
  });

/** The user interface may live below a path of its host. */
function linkTo(publicUrl: string, path: string): string {
  const url = new URL(publicUrl);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`;
  return url.toString();
}

const allocationPath = (id: string): string => `/allocations/${id}`;
const billingPath = '/billing';

const tellActive: Tell<typeof provisioningActive> = ({ allocation_id: id, user_id: to }) => [
  {
    to,
    severity: 'info',
    title: 'Your allocation is ready',
    message: `Allocation ${id} is active: you can connect to it now.`,
    path: allocationPath(id),
  },
];

const tellFailed: Tell<typeof provisioningFailed> = ({ allocation_id: id, user_id: to }) => [
  {
    to,
    severity: 'error',
    title: 'Your allocation could not be provided',
    message: `Allocation ${id} failed before it became active. It costs nothing; you can ask for another one.`,
    path: allocationPath(id),
  },
];

const tellReleased: Tell<typeof releasingCompleted> = ({ allocation_id: id, user_id: to }) => [
  {
    to,
    severity: 'info',
    title: 'Your allocation was released',
    message: `Allocation ${id} is released and its node is clean. It costs nothing from now on.`,
    path: allocationPath(id),
  },
];

const tellReleaseFailed: Tell<typeof releaseFailed> = ({ allocation_id: id, user_id: to }) => [
  {
    to,
    severity: 'error',
    title: 'Your allocation could not be released',
    message: `Releasing allocation ${id} failed. It costs nothing any more; you can try the release again, and operators know of it.`,
    path: allocationPath(id),
  },
  {
    to: operatorsRecipient,
    severity: 'error',
    title: 'A release failed',
    message: `Every attempt to release allocation ${id} failed. Its node stays assigned until a release succeeds.`,
    path: allocationPath(id),
  },
];

const tellLowBalance: Tell<typeof lowBalanceWarning> = (payload) => [
  {
    to: payload.user_id,
    severity: 'warning',
    type: 'low_balance_warning',
    title: 'Your balance is low',
    message:
      `Your balance is ${formatMinor(payload.balance_minor, payload.currency)}, below the threshold of ` +
      `${formatMinor(payload.threshold_minor, payload.currency)}.${depletion(payload)}`,
    path: billingPath,
  },
];

const tellAutoRelease: Tell<typeof autoReleasePending> = (payload) => [
  {
    to: payload.user_id,
    severity: 'warning',
    title: 'Allocations will be released soon',
    message: `${count(payload.active_allocation_ids.length, 'allocation')} will be released when your balance is used up.${depletion(payload)}`,
    path: billingPath,
  },
];

const tellDepleted: Tell<typeof balanceDepleted> = (payload) => [
  {
    to: payload.user_id,
    severity: 'error',
    type: 'balance_depleted',
    title: 'Your balance is used up',
    message: `Your balance is ${formatMinor(payload.balance_minor, payload.currency)}. ${consequence(payload.selected_action)}`,
    path: billingPath,
  },
];

function consequence(action: PayloadOf<typeof balanceDepleted>['selected_action']): string {
  if (action === 'force_release') return 'Your allocations are being released.';
  if (action === 'restrict') return 'New allocations are refused until you add funds.';
  return 'Add funds to go on.';
}

/** Budgets of an organisation that name nobody are a matter of the admins, who set them. */
const tellBudget: Tell<typeof budgetThresholdCrossed> = async (payload, tx) => {
  const named = await budgetRecipients(tx, {
    orgId: payload.org_id,
    projectId: payload.project_id ?? null,
    userIds: payload.recipient_user_ids ?? [],
  });
  const whose = payload.scope_type === 'project' ? 'project' : 'organisation';
  const spent = formatMinor(payload.spent_minor, payload.currency);
  return (named.length > 0 ? named : [operatorsRecipient]).map((to) => ({
    to,
    severity: payload.percent_used >= 100 ? 'error' : 'warning',
    title: `A budget is used to ${payload.percent_used} %`,
    message: `The ${whose}'s budget of ${formatMinor(payload.budget_minor, payload.currency)} is used to ${payload.percent_used} %: ${spent} spent. Nothing is stopped.`,
    path: billingPath,
  }));
};

const tellCredited: Tell<typeof balanceCredited> = (payload) => [
  {
    to: payload.user_id,
    severity: 'info',
    title: 'Your payment arrived',
    message: `${formatMinor(payload.amount_minor, payload.currency)} was added to your balance.`,
    path: billingPath,
  },
];

const tellReconcileFailed: Tell<typeof reconcileFailed> = ({ user_id: to, payment_session_id: session }) => [
  {
    to,
    severity: 'warning',
    title: 'A payment is being checked',
    message: 'One of your payments does not match what the payment provider says. Support looks into it.',
    path: billingPath,
  },
  {
    to: operatorsRecipient,
    severity: 'error',
    title: 'A payment does not reconcile',
    message: `The provider and the ledger disagree about payment session ${session}.`,
  },
];

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

function depletion(of: {
  readonly projected_depletion_at?: string | null | undefined;
  readonly projected_hours_remaining?: number | null | undefined;
}): string {
  const { projected_depletion_at: at, projected_hours_remaining: hours } = of;
  const left = hours == null ? '' : `, in about ${count(Math.round(hours), 'hour')}`;
  return at == null
    ? ''
    : ` At the present rate it ends on ${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC${left}.`;
}

/** `-12.34 USD`: digits only, as many after the point as the currency has. */
export function formatMinor(amount: number, currency: string): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  const places = format.resolvedOptions().maximumFractionDigits ?? 2;
  const digits = String(Math.abs(amount)).padStart(places + 1, '0');
  const whole = digits.slice(0, digits.length - places);
  const fraction = places === 0 ? '' : `.${digits.slice(-places)}`;
  return `${amount < 0 ? '-' : ''}${whole}${fraction} ${currency}`;
}
