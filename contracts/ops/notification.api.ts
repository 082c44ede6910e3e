import { z } from 'zod';
import { endpoint, instantSchema, pageOf, pageQuery, uuidParam } from '../http.api.ts';
import { notificationAudiences } from './notification.ts';
import { userNotificationPayload } from './notification.events.ts';

const notificationSchema = userNotificationPayload
  .required({ action_url: true })
  .extend({
    audience: z.enum(notificationAudiences),
    read_at: instantSchema.nullable().meta({ description: 'When the caller read it.' }),
  })
  .meta({ id: 'Notification' });

/** What goes over Redis to the replicas that hold sockets of a recipient. */
export const liveNotificationSchema = z.strictObject({
  recipient: z.guid(),
  /** Gapless per recipient. */
  seq: z.int().min(1),
  /** The operators' last number when this was written: an admin sees theirs up to it first. */
  operators_seq: z.int().min(0),
  notification: userNotificationPayload,
});

export type LiveNotification = z.infer<typeof liveNotificationSchema>;

const shared = { listener: 'public', tag: 'notifications', auth: 'user', rate: 'api' } as const;

export const listNotifications = endpoint({
  ...shared,
  id: 'listNotifications',
  method: 'get',
  path: '/api/v1/notifications',
  summary: 'Your notifications, newest first; for admins also what operators are told',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    unread: z
      .enum(['true', 'false'])
      .optional()
      .meta({ description: 'Only those unread, or only those read.' }),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('NotificationPage', notificationSchema) } },
  errors: [],
});

export const readNotification = endpoint({
  ...shared,
  id: 'readNotification',
  method: 'post',
  path: '/api/v1/notifications/{notification_id}/read',
  summary: 'Mark one as read; a repeat changes nothing',
  idempotent: true,
  params: uuidParam('notification_id'),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The notification.', schema: notificationSchema } },
  errors: ['notification_not_found', 'idempotency_key_reused'],
});

export const readAllNotifications = endpoint({
  ...shared,
  id: 'readAllNotifications',
  method: 'post',
  path: '/api/v1/notifications/read-all',
  summary: 'Mark all as read up to one of them, which is included',
  idempotent: true,
  params: undefined,
  query: undefined,
  body: z.strictObject({ through_id: z.uuid() }).meta({ id: 'NotificationsRead' }),
  responses: {
    200: {
      description: 'How many were unread until now.',
      schema: z.strictObject({ marked: z.int().min(0) }).meta({ id: 'NotificationsMarked' }),
    },
  },
  errors: ['notification_not_found', 'idempotency_key_reused'],
});

export const notificationEndpoints = [listNotifications, readNotification, readAllNotifications] as const;
