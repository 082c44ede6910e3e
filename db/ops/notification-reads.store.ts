import { sql } from 'drizzle-orm';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import type { Tx } from '../client.ts';
import { now } from '../clock.ts';
import { notificationReads } from '../schema.ts';
import type { NotificationPlace, NotificationViewer } from './notification.views.ts';

/** Marks notifications as read by a user; what was read stays read since then. */
export async function markNotificationsRead(tx: Tx, userId: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .insert(notificationReads)
    .values(ids.map((notificationId) => ({ userId, notificationId, readAt: now })))
    .onConflictDoNothing();
}

/**
 * Marks everything a viewer sees as read, up to a place and including it.
 * @returns how many were unread.
 */
export async function markThrough(
  tx: Tx,
  viewer: NotificationViewer,
  through: NotificationPlace,
): Promise<number> {
  const recipients = viewer.isAdmin ? [viewer.userId, operatorsRecipient] : [viewer.userId];
  const marked = await tx.execute(sql`
    insert into notification_reads (user_id, notification_id, read_at)
    select ${viewer.userId}::uuid, n.id, ${now} from notifications n
    where n.recipient in ${recipients}
      and (n.created_at, (n.audience = 'operators')::int, n.seq)
        <= (${through.at.toISOString()}::timestamptz, ${through.operators ? 1 : 0}::int, ${through.seq}::bigint)
    on conflict do nothing`);
  return marked.rowCount ?? 0;
}
