import { sql, type SQL } from 'drizzle-orm';
import type { UserNotification } from '../../contracts/ops/notification.events.ts';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import type { Queryable } from '../client.ts';
import { projects, users } from '../schema.ts';
import type { NotificationRow } from './notification.schema.ts';

/** Who looks; an admin also sees what operators are told. */
export interface NotificationViewer {
  readonly userId: string;
  readonly isAdmin: boolean;
}

/** How far somebody has come: the number of the last one seen, of each recipient. */
export interface NotificationPosition {
  readonly own: number;
  /** Of no meaning for those who are no admins. */
  readonly operators: number;
}

/** What stands on the wire, from whatever has its columns. */
export const userNotification = (
  row: Pick<NotificationRow, 'id' | 'occurredAt' | 'severity' | 'type' | 'title' | 'message' | 'actionUrl'>,
): UserNotification => ({
  id: row.id,
  occurred_at: row.occurredAt.toISOString(),
  severity: row.severity,
  type: row.type,
  title: row.title,
  message: row.message,
  action_url: row.actionUrl,
});

/** A notification as the list shows it. */
export interface ListedNotification extends Required<UserNotification> {
  readonly audience: 'user' | 'operators';
  readonly read_at: string | null;
}

type ListedRow = NotificationRow & { readonly readAt: Date | null };

const listed = (row: ListedRow): ListedNotification => ({
  ...userNotification(row),
  action_url: row.actionUrl,
  audience: row.audience,
  read_at: row.readAt?.toISOString() ?? null,
});

/** Where a row stands in the order of all that a viewer sees. */
export interface NotificationPlace {
  readonly at: Date;
  readonly seq: number;
  readonly operators: boolean;
}

const place = ({ at, operators, seq }: NotificationPlace): SQL =>
  sql`(${at.toISOString()}::timestamptz, ${operators ? 1 : 0}::int, ${seq}::bigint)`;

const recipientsOf = (viewer: NotificationViewer): string[] =>
  viewer.isAdmin ? [viewer.userId, operatorsRecipient] : [viewer.userId];

const columns =
  sql.raw(`n.id, n.audience, n.recipient, n.seq::float8 as seq, n.event_id as "eventId", n.subject,
  n.severity, n.type, n.title, n.message, n.action_url as "actionUrl",
  (extract(epoch from n.occurred_at) * 1000)::float8 as "occurredAtMs",
  (extract(epoch from n.created_at) * 1000)::float8 as "createdAtMs"`);

interface RawRow extends Omit<NotificationRow, 'occurredAt' | 'createdAt'> {
  readonly occurredAtMs: number;
  readonly createdAtMs: number;
  readonly readAtMs?: number | null;
  readonly [column: string]: unknown;
}

function rowOf({ occurredAtMs, createdAtMs, readAtMs, ...row }: RawRow): ListedRow {
  return {
    ...row,
    occurredAt: new Date(Math.round(occurredAtMs)),
    createdAt: new Date(Math.round(createdAtMs)),
    readAt: readAtMs == null ? null : new Date(Math.round(readAtMs)),
  };
}

/** Rows of a viewer's recipients, each read by its own index, merged in their common order. */
function merged(viewer: NotificationViewer, part: (recipient: string) => SQL, order: 'asc' | 'desc'): SQL {
  const parts = recipientsOf(viewer).map((recipient) => sql`(${part(recipient)})`);
  const direction = sql.raw(order);
  return sql`select * from (${sql.join(parts, sql` union all `)}) n
    order by n."createdAtMs" ${direction}, (n.audience = 'operators') ${direction}, n.seq ${direction}`;
}

/** A page of a viewer's list. */
export interface NotificationPage {
  readonly unread?: boolean | undefined;
  /** Older than this one. */
  readonly before?: NotificationPlace | undefined;
  readonly limit: number;
}

/** A viewer's notifications, newest first; one more than `limit` when there are more. */
export async function listNotificationViews(
  q: Queryable,
  viewer: NotificationViewer,
  { unread, before, limit }: NotificationPage,
): Promise<{ readonly items: ListedNotification[]; readonly last: NotificationPlace | undefined }> {
  const most = limit + 1;
  const part = (recipient: string): SQL => sql`
    select ${columns}, (extract(epoch from r.read_at) * 1000)::float8 as "readAtMs"
    from notifications n
    left join notification_reads r on r.notification_id = n.id and r.user_id = ${viewer.userId}::uuid
    where n.recipient = ${recipient}::uuid
      ${unread === undefined ? sql`` : unread ? sql`and r.read_at is null` : sql`and r.read_at is not null`}
      ${before === undefined ? sql`` : sql`and (n.created_at, (n.audience = 'operators')::int, n.seq) < ${place(before)}`}
    order by n.seq desc limit ${most}`;
  const { rows } = await q.execute<RawRow>(sql`${merged(viewer, part, 'desc')} limit ${most}`);
  const found = rows.map(rowOf);
  const last = found.slice(0, limit).at(-1);
  return { items: found.map(listed), last: last && placeOf(last) };
}

const placeOf = (row: NotificationRow): NotificationPlace => ({
  at: row.createdAt,
  seq: row.seq,
  operators: row.audience === 'operators',
});

/** One notification of a viewer; undefined when it is nobody's or somebody else's. */
export async function findNotification(
  q: Queryable,
  viewer: NotificationViewer,
  id: string,
): Promise<{ readonly view: ListedNotification; readonly place: NotificationPlace } | undefined> {
  const { rows } = await q.execute<RawRow>(sql`
    select ${columns}, (extract(epoch from r.read_at) * 1000)::float8 as "readAtMs"
    from notifications n
    left join notification_reads r on r.notification_id = n.id and r.user_id = ${viewer.userId}::uuid
    where n.id = ${id}::uuid and n.recipient in ${recipientsOf(viewer)}`);
  const row = rows[0] && rowOf(rows[0]);
  return row && { view: listed(row), place: placeOf(row) };
}

/** What comes after a position, in order, at most `limit`. */
export async function readNotificationsAfter(
  q: Queryable,
  viewer: NotificationViewer,
  position: NotificationPosition,
  limit: number,
): Promise<NotificationRow[]> {
  const part = (recipient: string): SQL => sql`
    select ${columns} from notifications n
    where n.recipient = ${recipient}::uuid
      and n.seq > ${recipient === operatorsRecipient ? position.operators : position.own}::bigint
    order by n.seq limit ${limit}`;
  const { rows } = await q.execute<RawRow>(sql`${merged(viewer, part, 'asc')} limit ${limit}`);
  return rows.map(rowOf);
}

/** The last numbers of recipients; those that never got any are missing. One instant for all of them. */
export async function notificationHeads(
  q: Queryable,
  recipients: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (recipients.length === 0) return new Map();
  const { rows } = await q.execute<{ recipient: string; seq: number }>(sql`
    select recipient, last_seq::float8 as seq from notification_cursors
    where recipient = any(${`{${recipients.join(',')}}`}::uuid[])`);
  return new Map(rows.map((row) => [row.recipient, row.seq]));
}

/** The position of whoever has seen everything until now. */
export async function headPosition(q: Queryable, viewer: NotificationViewer): Promise<NotificationPosition> {
  const heads = await notificationHeads(q, recipientsOf(viewer));
  return { own: heads.get(viewer.userId) ?? 0, operators: heads.get(operatorsRecipient) ?? 0 };
}

/** The position of whoever saw a notification last; undefined when the viewer has no such one. */
export async function positionAfter(
  q: Queryable,
  viewer: NotificationViewer,
  id: string,
): Promise<NotificationPosition | undefined> {
  const { rows } = await q.execute<{ operators: boolean; seq: number; other: number }>(sql`
    select n.audience = 'operators' as operators, n.seq::float8 as seq, coalesce((
      select o.seq from notifications o
      where o.recipient = case when n.audience = 'operators' then ${viewer.userId}::uuid else ${operatorsRecipient}::uuid end
        and case when n.audience = 'operators' then o.created_at <= n.created_at else o.created_at < n.created_at end
      order by o.seq desc limit 1), 0)::float8 as other
    from notifications n
    where n.id = ${id}::uuid and n.recipient in ${recipientsOf(viewer)}`);
  const [row] = rows;
  if (row === undefined) return undefined;
  return row.operators ? { own: row.other, operators: row.seq } : { own: row.seq, operators: row.other };
}

/**
 * Whom a budget's threshold concerns: the users it names who belong to the organisation, else the owner of its
 * project. Empty for a budget of the organisation that names nobody.
 */
export async function budgetRecipients(
  q: Queryable,
  of: { readonly orgId: string; readonly projectId: string | null; readonly userIds: readonly string[] },
): Promise<string[]> {
  if (of.userIds.length > 0) {
    const { rows } = await q.execute<{ id: string }>(sql`
      select id from ${users} where ${users.orgId} = ${of.orgId}::uuid
        and ${users.id} = any(${`{${of.userIds.join(',')}}`}::uuid[])`);
    return rows.map((row) => row.id);
  }
  if (of.projectId === null) return [];
  const { rows } = await q.execute<{ id: string }>(sql`
    select p.owner_user_id as id from ${projects} p
    where p.id = ${of.projectId}::uuid and p.org_id = ${of.orgId}::uuid`);
  return rows.map((row) => row.id);
}
