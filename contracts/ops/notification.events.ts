import { z } from 'zod';
import { type SocketChannel, wireId } from '../envelope.ts';
import { notificationSeverities, notificationTypes } from './notification.ts';

/** A notification as a user receives it. */
export const userNotificationPayload = z
  .strictObject({
    id: wireId,
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
  description:
    'Notifications of the signed-in user; for admins also what operators are told. Clients send nothing. With ' +
    '`?after=<id of the last notification>` everything stored since then comes first, in order and once; without it ' +
    'only what is new. The token is never part of the address. Why the server closed is the close code: 1001 the ' +
    'server goes away, 1008 the client sent a message, 1013 try again (something is away, or the client read too ' +
    'slowly), 4400 a wrong handshake, 4401 no valid token or it has expired, 4403 origin, role or organisation, 4404 ' +
    'an unknown `after`, 4429 too many connections or attempts. The reason of a close from 4400 on is a code of the ' +
    'error catalogue.',
  headers: {
    Authorization: 'Bearer token; for clients that are no browsers.',
    'Sec-WebSocket-Protocol':
      '`gpuaas.notifications.v1` and the token, for a browser, which cannot set other headers; the server answers with the first.',
  },
  subscribe: {
    operationId: 'serverUserNotification',
    description: 'One notification per message.',
    messages: [
      { name: 'UserNotification', messageId: 'notifications.user', payload: userNotificationPayload },
    ],
  },
};
