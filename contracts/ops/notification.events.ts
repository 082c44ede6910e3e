import { z } from 'zod';
import type { SocketChannel } from '../envelope.ts';
import { notificationSeverities, notificationTypes } from './notification.ts';

/** A notification as a user receives it. */
export const userNotificationPayload = z
  .strictObject({
    id: z.uuid(),
    occurred_at: z.iso.datetime({ offset: true }),
    severity: z.enum(notificationSeverities),
    type: z.enum(notificationTypes),
    title: z.string(),
    message: z.string(),
    action_url: z.url().nullable().optional(),
  })
  .meta({ id: 'UserNotificationPayload' });
export type UserNotification = z.infer<typeof userNotificationPayload>;

/** The notifications of the signed-in user, as they happen. */
export const notificationSocket: SocketChannel = {
  address: 'ws/notifications',
  description: 'Notifications of the signed-in user. Nothing is sent to the server.',
  headers: {
    Authorization: 'Bearer token; for clients that are no browsers.',
    'Sec-WebSocket-Protocol': 'Carries the token of a browser, which cannot set other headers.',
  },
  subscribe: {
    operationId: 'serverUserNotification',
    description: 'One notification per message.',
    messages: [
      { name: 'UserNotification', messageId: 'notifications.user', payload: userNotificationPayload },
    ],
  },
};
