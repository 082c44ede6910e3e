import { bigint, index, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { instant } from '../columns.ts';

/** Memory of a consumer: an event whose effect it has made; written in the effect's transaction. */
export const consumedEvents = pgTable(
  'consumed_events',
  {
    consumer: text('consumer').notNull(),
    eventId: uuid('event_id').notNull(),
    at: instant('at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.consumer, t.eventId] }), index('consumed_events_at').on(t.at)],
);

/** Every event as it arrived from JetStream: the read side's log. */
export const eventLog = pgTable(
  'event_log',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    eventId: uuid('event_id').notNull().unique(),
    subject: text('subject').notNull(),
    version: text('version').notNull(),
    correlationId: text('correlation_id').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    payload: jsonb('payload').$type<Record<string, unknown>>().notNull(),
    stream: text('stream').notNull(),
    streamSeq: bigint('stream_seq', { mode: 'number' }).notNull(),
    receivedAt: instant('received_at').notNull(),
  },
  (t) => [
    index('event_log_subject').on(t.subject, t.id),
    index('event_log_correlation_id').on(t.correlationId),
    index('event_log_received_at').on(t.receivedAt),
  ],
);

export type EventLogRow = typeof eventLog.$inferSelect;
