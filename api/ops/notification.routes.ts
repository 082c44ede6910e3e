import { CodedError } from '../../contracts/errors.ts';
import {
  listNotifications,
  readAllNotifications,
  readNotification,
} from '../../contracts/ops/notification.api.ts';
import { markNotificationsRead, markThrough } from '../../db/ops/notification-reads.store.ts';
import { findNotification, listNotificationViews } from '../../db/ops/notification.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** A caller's notifications and what they have read of them. */
export function notificationRoutes(deps: ApiDeps): Route[] {
  return [
    route(listNotifications, async ({ caller, query }) => {
      const position = readCursor(query.cursor, ['instant', 'int', 'bigint']);
      const before = position && { at: position[0], operators: position[1] === 1, seq: position[2] };
      const unread = query.unread === undefined ? undefined : query.unread === 'true';
      const { items, last } = await listNotificationViews(deps.db.q, caller, {
        unread,
        before,
        limit: query.limit,
      });
      return pageAnswer(items, query.limit, () =>
        last === undefined ? [] : [last.at, last.operators ? 1 : 0, last.seq],
      );
    }),
    route(readNotification, (request) =>
      once(deps, readNotification, request, async (tx) => {
        const { caller, params } = request;
        const found = await findNotification(tx, caller, params.notification_id);
        if (found === undefined) throw new CodedError('notification_not_found');
        await markNotificationsRead(tx, caller.userId, [params.notification_id]);
        const read = await findNotification(tx, caller, params.notification_id);
        return { status: 200, body: { ...(read ?? found).view } };
      }),
    ),
    route(readAllNotifications, (request) =>
      once(deps, readAllNotifications, request, async (tx) => {
        const { caller, body } = request;
        const found = await findNotification(tx, caller, body.through_id);
        if (found === undefined) throw new CodedError('notification_not_found');
        return { status: 200, body: { marked: await markThrough(tx, caller, found.place) } };
      }),
    ),
  ];
}
