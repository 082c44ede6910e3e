import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgEnum,
  pgTable,
  text,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import { deadLetterReasons, deadLetterStates } from '../../contracts/ops/dead-letter.ts';
import { dlqReplayStates } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { bytea, instant } from '../columns.ts';

export const deadLetterState = pgEnum('dead_letter_state', deadLetterStates);
export const deadLetterReason = pgEnum('dead_letter_reason', deadLetterReasons);
export const dlqReplayState = pgEnum('dlq_replay_state', dlqReplayStates);

/** One arrival of a message in the DLQ. */
export interface DeadLetterArrival {
  readonly dlq_seq: number;
  readonly arrived_at: string;
  readonly reason: string;
  readonly error_code: string | null;
  readonly detail: string | null;
  readonly deliveries: number;
  /** When the message was stored where its consumer read it; older entries do not have it. */
  readonly stored_at?: string;
  /** With the first arrival alone, whose body the letter keeps: how long it was, where it came cut. */
  readonly whole_bytes?: number;
}

/** A message that a consumer gave up on; one row however often it comes back. */
export const deadLetters = pgTable(
  'dead_letters',
  {
    id: uuid('id').primaryKey(),
    /** Order of first arrival, for paging. */
    seq: bigint('seq', { mode: 'number' }).notNull().unique().generatedAlwaysAsIdentity(),
    consumer: text('consumer').notNull(),
    consumerGroup: text('consumer_group').notNull(),
    /** Event id, or stream and sequence of a message that has none. */
    messageKey: text('message_key').notNull(),
    subject: text('subject').notNull(),
    eventId: uuid('event_id'),
    correlationId: text('correlation_id'),
    reason: deadLetterReason('reason').notNull(),
    errorCode: text('error_code'),
    detail: text('detail'),
    body: bytea('body').notNull(),
    stream: text('stream').notNull(),
    streamSeq: bigint('stream_seq', { mode: 'number' }).notNull(),
    deliveries: integer('deliveries').notNull(),
    firstAt: instant('first_at').notNull(),
    lastAt: instant('last_at').notNull(),
    state: deadLetterState('state').notNull(),
    arrivals: integer('arrivals').notNull().default(1),
    replays: integer('replays').notNull().default(0),
    history: jsonb('history').$type<readonly DeadLetterArrival[]>().notNull(),
    /** Newest message of the DLQ stream that this row has taken in. */
    dlqSeq: bigint('dlq_seq', { mode: 'number' }).notNull(),
    discardReason: text('discard_reason'),
    updatedAt: instant('updated_at').notNull(),
  },
  (t) => [
    unique('dead_letters_message').on(t.consumer, t.messageKey),
    index('dead_letters_state').on(t.state, t.seq),
    index('dead_letters_open')
      .on(t.subject)
      .where(sql`state = 'open'`),
    index('dead_letters_closed')
      .on(t.updatedAt)
      .where(sql`state <> 'open'`),
  ],
);

export type DeadLetterRow = typeof deadLetters.$inferSelect;

/** A run that replays many dead letters; the run `dlq-replay-<id>` is its driver. */
export const dlqReplays = pgTable(
  'dlq_replays',
  {
    id: uuid('id').primaryKey(),
    state: dlqReplayState('state').notNull(),
    version: integer('version').notNull(),
    filter: jsonb('filter').$type<Record<string, unknown>>().notNull(),
    dryRun: boolean('dry_run').notNull(),
    /** Letters that arrived later than this one are not touched. */
    throughSeq: bigint('through_seq', { mode: 'number' }).notNull(),
    /** Position of the run. */
    afterSeq: bigint('after_seq', { mode: 'number' }).notNull(),
    matched: integer('matched').notNull(),
    replayed: integer('replayed').notNull(),
    skipped: integer('skipped').notNull(),
    requestedBy: uuid('requested_by').notNull(),
    requestedRole: text('requested_role').notNull(),
    reason: text('reason').notNull(),
    createOperationId: uuid('create_operation_id').notNull(),
    correlationId: text('correlation_id').notNull(),
    createdAt: instant('created_at').notNull(),
    stateSince: instant('state_since').notNull(),
    finishedAt: instant('finished_at'),
  },
  (t) => [index('dlq_replays_created_at').on(t.createdAt, t.id)],
);

export type DlqReplayRow = typeof dlqReplays.$inferSelect;
