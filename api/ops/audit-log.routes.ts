import { adminListAuditLogs } from '../../contracts/ops/audit-log.api.ts';
import { listAuditLogViews } from '../../db/ops/audit-log.views.ts';
import type { ApiDeps } from '../deps.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** The year 0, which a request may name, is unknown to Postgres. */
const earliest = new Date('0001-01-01T00:00:00Z');

const instantOf = (text: string | undefined): Date | undefined => {
  if (text === undefined) return undefined;
  const at = new Date(text);
  return at < earliest ? earliest : at;
};

/** Audit rows, for admins. */
export function auditLogRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminListAuditLogs, async ({ query }) => {
      const { limit, cursor, from, to, ...filter } = query;
      const position = readCursor(cursor, ['instant', 'bigint']);
      const after = position && { at: position[0], id: position[1] };
      const range = { from: instantOf(from), to: instantOf(to) };
      const items = await listAuditLogViews(deps.db.q, { ...filter, ...range }, after, limit);
      return pageAnswer(items, limit, (item) => [new Date(item.at), Number(item.id)]);
    }),
  ];
}
