/**
 * Policy keys: business values that operators change at run time, stored in `policy_values`.
 *
 * Code reads them through the policy reader (cached briefly), never as literals. Keys and defaults of the source
 * catalogue stand first; those marked D-0003 were added here with that decision.
 */
export type PolicyType = 'int' | 'bool' | 'string';

export interface PolicyDeclaration {
  readonly type: PolicyType;
  readonly default: number | boolean | string;
  readonly meaning: string;
  /** Inclusive bounds of an int. */
  readonly minimum?: number;
  readonly maximum?: number;
  /** Allowed values of a string. */
  readonly values?: readonly string[];
}

const int = (value: number, meaning: string, minimum = 0, maximum = 1_000_000_000) =>
  ({ type: 'int', default: value, meaning, minimum, maximum }) as const;
const bool = (value: boolean, meaning: string) => ({ type: 'bool', default: value, meaning }) as const;

export const policies = {
  'billing.low_balance_threshold_minor': int(500, 'Balance in minor units below which the warning fires.'),
  'billing.window_seconds': int(60, 'Accrual interval.', 1, 86_400),
  'billing.minimum_deposit_minor': int(1000, 'Smallest Stripe checkout in minor units.', 1),
  'billing.maximum_deposit_minor': int(100_000, 'Largest Stripe checkout in minor units.', 1),
  'allocation.max_concurrent_per_user': int(50, 'Most live allocations of one user.'),
  'allocation.refund_window_days': int(30, 'Days in which a payment may be refunded.'),
  'rate_limit.api_requests_per_minute': int(120, 'Requests per user and minute.', 1),
  'rate_limit.terminal_token_requests_per_minute': int(10, 'Terminal tokens per user and minute.', 1),
  'rate_limit.financial_requests_per_minute': int(
    30,
    'Payment, refund and balance requests per user and minute.',
    1,
  ),
  'rate_limit.admin_overview_requests_per_minute': int(600, 'Admin overview polls per user and minute.', 1),
  'terminal.session_max_ttl_seconds': int(14_400, 'Longest terminal session.', 300, 86_400),
  'notification.low_balance_enabled': bool(true, 'Whether low-balance alerts are sent.'),
  'notification.balance_depleted_enabled': bool(true, 'Whether depletion alerts are sent.'),
  'auth.service_account_token_ttl_seconds': int(900, 'Lifetime of a service account token.', 60, 86_400),
  'allocation.isolation_model': {
    type: 'string',
    default: 'user-revoke',
    values: ['user-revoke', 'full-reimage'],
    meaning: 'How a node is isolated between tenants; full-reimage needs a MAAS adapter.',
  },
  'maas.enabled': bool(false, 'Whether MAAS deploys and releases nodes.'),
  // D-0003
  'allocation.task_timeout_seconds': int(
    600,
    'Time that a node has for one task before it counts as away.',
    1,
    86_400,
  ),
  'allocation.task_attempts': int(
    5,
    'Attempts of a node task that the node itself reports as failed.',
    1,
    100,
  ),
  'allocation.task_retry_milliseconds': int(
    1000,
    'First pause between two attempts; doubles up to 30 s.',
    1,
    60_000,
  ),
  'notification.max_connections_per_user': int(20, 'Open notification sockets of one user.', 1, 10_000),
  'notification.retention_days': int(90, 'Days for which a notification is kept.', 1, 3650),
  'event.log_retention_days': int(365, 'Days for which the event log keeps an event.', 1, 3650),
  'event.memory_days': int(
    120,
    'Days for which a consumer remembers an event; longer than any stream keeps its messages.',
    100,
    3650,
  ),
  'dead_letter.alert_window_seconds': int(
    600,
    'Seconds within which the letters of one consumer for one reason raise one alert; 0 alerts at every letter.',
    0,
    86_400,
  ),
  // Less than the DLQ keeps its messages would write a letter down anew when its durable is made again.
  'dead_letter.retention_days': int(
    90,
    'Days for which a dead letter that was dealt with is kept; at most event.memory_days.',
    90,
    3650,
  ),
  // With the longest keys that many are 3.3 MB of a task; an agent reads answers of up to 4 MiB.
  'ssh_keys.max_per_user': int(100, 'Most SSH keys of one user.', 1, 200),
  'node.offline_after_seconds': int(60, 'Silence after which a node gets no new tenant.', 1, 86_400),
} as const satisfies Record<string, PolicyDeclaration>;

/** The isolation model that nobody carries out as long as there is no MAAS adapter (D-0010). */
export const unkeptIsolationModel = 'full-reimage';

export type PolicyKey = keyof typeof policies;

export type PolicyValue<K extends PolicyKey> = (typeof policies)[K]['type'] extends 'int'
  ? number
  : (typeof policies)[K]['type'] extends 'bool'
    ? boolean
    : string;

export const policyKeys = Object.keys(policies) as readonly PolicyKey[];

export const isPolicyKey = (value: string): value is PolicyKey => Object.hasOwn(policies, value);

/**
 * Checks a value against its declaration.
 * @returns undefined when it fits, otherwise one sentence that says why not.
 */
export function policyViolation(key: PolicyKey, value: unknown): string | undefined {
  const declared: PolicyDeclaration = policies[key];
  if (declared.type === 'bool') return typeof value === 'boolean' ? undefined : 'must be true or false';
  if (declared.type === 'string') {
    const fits =
      typeof value === 'string' && (declared.values === undefined || declared.values.includes(value));
    return fits ? undefined : `must be one of ${declared.values?.join(', ')}`;
  }
  const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = declared;
  const fits =
    typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum && value <= maximum;
  return fits ? undefined : `must be an integer from ${minimum} to ${maximum}`;
}
