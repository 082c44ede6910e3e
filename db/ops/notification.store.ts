/**
 * Notifications are written in one order that every reader can repeat. Per recipient `seq` is gapless and in commit
 * order, because the recipient's cursor is locked. An admin reads two recipients, their own and the operators', merged
 * by (`created_at`, operators last, `seq`): whoever tells the operators has all other writers wait and takes an instant
 * not before any that is there; whoever tells a user takes one after the operators' last. So whatever is committed
 * later is also sorted later, whatever the clock does, and one id tells where an admin was in both.
 */
import type { LiveNotification } from '../../contracts/ops/notification.api.ts';
import {
  operatorsRecipient,
  type NotificationSeverity,
  type NotificationType,
} from '../../contracts/ops/notification.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { notificationChannel } from '../../contracts/wakes.ts';
import { assertNoConnectionHeld, type Tx } from '../client.ts';
import { notifications } from '../schema.ts';
import { columnsOf, statement } from '../statement.ts';
import type { NotificationRow } from './notification.schema.ts';
import { userNotification } from './notification.views.ts';

/** What somebody is told. */
export interface NewNotification {
  /** A user's id, or `operatorsRecipient`. */
  readonly recipient: string;
  readonly eventId: string;
  readonly subject: string;
  readonly severity: NotificationSeverity;
  readonly type: NotificationType;
  readonly title: string;
  readonly message: string;
  /** Absolute address. */
  readonly actionUrl: string | null;
  readonly occurredAt: Date;
}

/** An alert for all operators. */
export interface OperatorsAlert {
  readonly eventId: string;
  readonly subject: string;
  readonly severity: NotificationSeverity;
  readonly title: string;
  readonly message: string;
  readonly correlationId: string;
  readonly occurredAt: Date;
}

/** Tells sockets of what was stored; best effort, to be called after the commit. Never rejects. */
type Announce = () => Promise<void>;

/** Stores notifications in the caller's transaction. */
export interface Notifier {
  /**
   * Stores each one once: one per event and recipient.
   * @returns what to do after the commit; undefined when nothing is new.
   */
  notify(tx: Tx, list: readonly NewNotification[]): Promise<Announce | undefined>;
  /** Tells all operators. One alert per event id is stored, the first; the others are silent, whatever they say. */
  alertOperators(tx: Tx, alert: OperatorsAlert): Promise<Announce | undefined>;
}

/**
 * @param publish sends a message on a Redis channel. When it fails, sockets learn of it with their next look into the
 * table, and so they do when the process dies before.
 */
export function createNotifier(publish: (channel: string, message: string) => Promise<unknown>): Notifier {
  const store = async (tx: Tx, list: readonly Identified[]): Promise<Announce | undefined> => {
    const stored = await storeAll(tx, list);
    if (stored.length === 0) return undefined;
    return async () => {
      assertNoConnectionHeld('Redis');
      await Promise.allSettled(stored.map((row) => publish(...announcement(row))));
    };
  };
  return {
    notify: (tx, list) => store(tx, list.map(identified)),
    alertOperators: async (tx, alert) => {
      const one = identified(operatorsAlert(alert));
      // A flood of one alert does not hold up the order of all others.
      const stored = await findStored(tx, { id: one.id });
      return stored.length > 0 ? undefined : await store(tx, [one]);
    },
  };
}

type Identified = NewNotification & { readonly id: string };
type StoredRow = NotificationRow & { readonly operatorsSeq: number };

const identified = (one: NewNotification): Identified => ({
  ...one,
  id: uuid5('notification', one.eventId, one.recipient),
});

const operatorsAlert = ({ correlationId, ...alert }: OperatorsAlert): NewNotification => ({
  ...alert,
  recipient: operatorsRecipient,
  message: `${alert.message} Correlation id: ${correlationId}.`,
  type: 'info',
  actionUrl: null,
});

function announcement(row: StoredRow): [channel: string, message: string] {
  const live: LiveNotification = {
    recipient: row.recipient,
    seq: row.seq,
    operators_seq: row.operatorsSeq,
    notification: userNotification(row),
  };
  return [notificationChannel(row.recipient), JSON.stringify(live)];
}

/** Locks in one order: the users' cursors by id, the order of all, the operators' cursor. */
async function storeAll(tx: Tx, list: readonly Identified[]): Promise<readonly StoredRow[]> {
  const isOperators = (one: Identified): boolean => one.recipient === operatorsRecipient;
  const users = list
    .filter((one) => !isOperators(one))
    .toSorted((a, b) => (a.recipient < b.recipient ? -1 : a.recipient > b.recipient ? 1 : 0));
  const operators = list.filter(isOperators);
  for (const recipient of new Set(users.map((one) => one.recipient))) await lockCursor(tx, { recipient });
  await (operators.length > 0 ? lockOrder(tx, {}) : shareOrder(tx, {}));
  if (operators.length > 0) await lockCursor(tx, { recipient: operatorsRecipient });
  const stored: StoredRow[] = [];
  for (const one of users) stored.push(...(await insertForUser(tx, parametersOf(one))));
  for (const one of operators) stored.push(...(await insertForOperators(tx, parametersOf(one))));
  return stored;
}

const maxTitleChars = 200;
const maxMessageChars = 2000;
const shortened = (text: string, maxChars: number): string => Array.from(text).slice(0, maxChars).join('');

function parametersOf(one: Identified) {
  return {
    id: one.id,
    recipient: one.recipient,
    event_id: one.eventId,
    subject: one.subject,
    severity: one.severity,
    type: one.type,
    title: shortened(one.title, maxTitleChars),
    message: shortened(one.message, maxMessageChars),
    action_url: one.actionUrl,
    occurred_at: one.occurredAt.toISOString(),
    operators: operatorsRecipient,
  };
}

type Values = ReturnType<typeof parametersOf>;

/** Any number; all processes use the same. */
const orderLock = '7305214401';

const lockCursor = statement<{ recipient: string }, object>(
  'notification_cursor_lock',
  `insert into notification_cursors (recipient, last_seq) values (:recipient::uuid, 0)
   on conflict (recipient) do update set last_seq = notification_cursors.last_seq`,
);

const shareOrder = statement<Record<string, never>, object>(
  'notification_order_share',
  `select pg_advisory_xact_lock_shared(${orderLock})::text`,
);

const lockOrder = statement<Record<string, never>, object>(
  'notification_order_lock',
  `select pg_advisory_xact_lock(${orderLock})::text`,
);

const findStored = statement<{ id: string }, object>(
  'notification_stored',
  `select 1 from notifications where id = :id::uuid`,
);

/** @param createdAt its instant, as SQL. */
const insertion = (audience: 'user' | 'operators', createdAt: string): string => `
  with given as (
    insert into notifications as n (id, audience, recipient, seq, event_id, subject, severity, type, title, message,
      action_url, occurred_at, created_at)
    select :id::uuid, '${audience}', c.recipient, c.last_seq + 1, :event_id::uuid, :subject::text,
      :severity::notification_severity, :type::notification_type, :title::text, :message::text, :action_url::text,
      :occurred_at::timestamptz, ${createdAt}
    from notification_cursors c where c.recipient = :recipient::uuid
    on conflict (id) do nothing
    returning ${columnsOf(notifications, 'n')}
  ), advanced as (
    update notification_cursors set last_seq = last_seq + 1
    where recipient = :recipient::uuid and exists (select 1 from given)
  )
  select given.*, coalesce((select last_seq from notification_cursors where recipient = :operators::uuid), 0)::float8
    as "operatorsSeq"
  from given`;

const lastOf = (recipient: string): string =>
  `(select created_at from notifications where recipient = ${recipient} order by seq desc limit 1)`;

const insertForUser = statement<Values, StoredRow>(
  'notification_insert_user',
  insertion(
    'user',
    `greatest(gpuaas_now(), ${lastOf('c.recipient')}, ${lastOf(':operators::uuid')} + interval '1 millisecond')`,
  ),
);

const insertForOperators = statement<Values, StoredRow>(
  'notification_insert_operators',
  insertion('operators', 'greatest(gpuaas_now(), (select max(created_at) from notifications))'),
);
