import { bigint, index, pgEnum, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import {
  notificationAudiences,
  notificationSeverities,
  notificationTypes,
} from '../../contracts/ops/notification.ts';
import { instant } from '../columns.ts';

export const notificationAudience = pgEnum('notification_audience', notificationAudiences);
export const notificationSeverity = pgEnum('notification_severity', notificationSeverities);
export const notificationType = pgEnum('notification_type', notificationTypes);

/** Last number given to a recipient: its lock orders the commits, so that a reader never misses a smaller number. */
export const notificationCursors = pgTable('notification_cursors', {
  recipient: uuid('recipient').primaryKey(),
  lastSeq: bigint('last_seq', { mode: 'number' }).notNull(),
});

/** What a user, or all operators, are told. */
export const notifications = pgTable(
  'notifications',
  {
    id: uuid('id').primaryKey(),
    audience: notificationAudience('audience').notNull(),
    /** A user's id; the operators' fixed id for all of them. */
    recipient: uuid('recipient').notNull(),
    /** Gapless per recipient, in commit order. */
    seq: bigint('seq', { mode: 'number' }).notNull(),
    eventId: uuid('event_id').notNull(),
    subject: text('subject').notNull(),
    severity: notificationSeverity('severity').notNull(),
    type: notificationType('type').notNull(),
    title: text('title').notNull(),
    message: text('message').notNull(),
    actionUrl: text('action_url'),
    occurredAt: instant('occurred_at').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    unique('notifications_recipient_seq').on(t.recipient, t.seq),
    index('notifications_created_at').on(t.createdAt),
  ],
);

export type NotificationRow = typeof notifications.$inferSelect;

/** Who has read what; an operator's reading is their own. */
export const notificationReads = pgTable(
  'notification_reads',
  {
    userId: uuid('user_id').notNull(),
    notificationId: uuid('notification_id')
      .notNull()
      .references(() => notifications.id, { onDelete: 'cascade' }),
    readAt: instant('read_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.userId, t.notificationId] }),
    // For the cascade of a notification that ages out.
    index('notification_reads_notification_id').on(t.notificationId),
  ],
);
