import { and, desc, eq, gte, lt, type SQL } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { eventLog } from '../schema.ts';
import type { EventLogRow } from './event.schema.ts';

/** What to look for in the event log. */
export interface EventFilter {
  readonly subject?: string | undefined;
  readonly correlationId?: string | undefined;
  /** Received at or after. */
  readonly from?: Date | undefined;
  /** Received before. */
  readonly to?: Date | undefined;
  /** Id of the last row of the page before. */
  readonly before?: number | undefined;
}

/** A page of the event log, newest first. */
export async function listEvents(q: Queryable, filter: EventFilter, limit: number): Promise<EventLogRow[]> {
  const conditions: (SQL | undefined)[] = [
    filter.subject === undefined ? undefined : eq(eventLog.subject, filter.subject),
    filter.correlationId === undefined ? undefined : eq(eventLog.correlationId, filter.correlationId),
    filter.from === undefined ? undefined : gte(eventLog.receivedAt, filter.from),
    filter.to === undefined ? undefined : lt(eventLog.receivedAt, filter.to),
    filter.before === undefined ? undefined : lt(eventLog.id, filter.before),
  ];
  return q
    .select()
    .from(eventLog)
    .where(and(...conditions))
    .orderBy(desc(eventLog.id))
    .limit(limit);
}
