import { adminListEvents, type LoggedEventView } from '../../contracts/ops/event-log.api.ts';
import type { EventLogRow } from '../../db/ops/event.schema.ts';
import { listEvents } from '../../db/ops/event.views.ts';
import type { ApiDeps } from '../deps.ts';
import { instantOf, pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** The log of events, for admins. @param sanitise removes secrets from payloads. */
export function eventLogRoutes(deps: ApiDeps, sanitise: (value: unknown) => unknown): Route[] {
  return [
    route(adminListEvents, async ({ query }) => {
      const { limit, cursor, from, to, subject, correlation_id: correlationId } = query;
      const [before] = readCursor(cursor, ['bigint']) ?? [];
      const filter = { subject, correlationId, from: instantOf(from), to: instantOf(to), before };
      const rows = await listEvents(deps.db.q, filter, limit + 1);
      const last = rows.at(limit - 1);
      return pageAnswer(
        rows.map((row) => viewOf(row, sanitise)),
        limit,
        () => (last === undefined ? [] : [last.id]),
      );
    }),
  ];
}

const viewOf = (row: EventLogRow, sanitise: (value: unknown) => unknown): LoggedEventView => ({
  event_id: row.eventId,
  event_type: row.subject,
  version: row.version,
  correlation_id: row.correlationId,
  occurred_at: row.occurredAt.toISOString(),
  received_at: row.receivedAt.toISOString(),
  stream: row.stream,
  stream_seq: row.streamSeq,
  payload: sanitise(row.payload) as Record<string, unknown>,
});
