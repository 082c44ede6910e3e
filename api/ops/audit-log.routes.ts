import { adminListAuditLogs } from '../../contracts/ops/audit-log.api.ts';
import { listAuditLogViews } from '../../db/ops/audit-log.views.ts';
import type { ApiDeps } from '../deps.ts';
import { instantOf, pageAnswer, readCursor } from '../paging.ts';
import { lowerUuid } from '../middleware/validate.ts';
import { route, type Route } from '../route.ts';

/** Audit rows, for admins. */
export function auditLogRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminListAuditLogs, async ({ query }) => {
      const { limit, cursor, from, to, ...filter } = query;
      const position = readCursor(cursor, ['instant', 'bigint']);
      const after = position && { at: position[0], id: position[1] };
      const range = { from: instantOf(from), to: instantOf(to) };
      // A key of a policy or an id; ids are kept in lower case.
      const target = filter.target_id === undefined ? undefined : lowerUuid(filter.target_id);
      const wanted = { ...filter, ...range, target_id: target };
      const items = await listAuditLogViews(deps.db.q, wanted, after, limit);
      return pageAnswer(items, limit, (item) => [new Date(item.at), Number(item.id)]);
    }),
  ];
}
