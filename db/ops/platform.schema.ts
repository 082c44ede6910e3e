import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  interval,
  jsonb,
  pgEnum,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import type { OperationOutcome } from '../../contracts/allocations/allocation.messages.ts';
import { operationKinds } from '../../contracts/ops/operation.api.ts';
import { instant } from '../columns.ts';

/** Offset that only the test role may set; `gpuaas_now()` adds it to the database clock. */
export const clockOffset = pgTable(
  'clock_offset',
  { singleton: boolean('singleton').primaryKey().default(true), offset: interval('clock_offset').notNull() },
  (t) => [check('clock_offset_singleton', sql`${t.singleton}`)],
);

/** Every state change of every lifecycle, append-only. `seq` is the entity's version. */
export const timeline = pgTable(
  'timeline',
  {
    entityId: uuid('entity_id').notNull(),
    seq: integer('seq').notNull(),
    stem: text('stem').notNull(),
    event: text('event').notNull(),
    fromState: text('from_state'),
    toState: text('to_state').notNull(),
    at: instant('at').notNull(),
    actorType: text('actor_type').notNull(),
    actorUserId: uuid('actor_user_id'),
    reason: text('reason'),
    operationId: uuid('operation_id'),
    correlationId: text('correlation_id').notNull(),
  },
  (t) => [primaryKey({ columns: [t.entityId, t.seq] })],
);

export const operationKind = pgEnum('operation_kind', operationKinds);
export const operationState = pgEnum('operation_state', ['open', 'accepted', 'refused']);

/** The memory of an idempotency key: outlives retention, continue-as-new and a lost namespace. */
export const operations = pgTable(
  'operations',
  {
    id: uuid('id').primaryKey(),
    caller: uuid('caller').notNull(),
    route: text('route').notNull(),
    key: text('key').notNull(),
    bodyHash: text('body_hash').notNull(),
    kind: operationKind('kind').notNull(),
    orgId: uuid('org_id').notNull(),
    entityId: uuid('entity_id').notNull(),
    /** Ids and codes with which a lost run is started again. */
    request: jsonb('request').$type<Record<string, unknown>>().notNull(),
    state: operationState('state').notNull(),
    outcome: jsonb('outcome').$type<OperationOutcome>(),
    /** The answer's body as it was first given. */
    response: jsonb('response').$type<Record<string, unknown>>(),
    correlationId: text('correlation_id').notNull(),
    createdAt: instant('created_at').notNull(),
    decidedAt: instant('decided_at'),
  },
  (t) => [
    unique('operations_caller_route_key').on(t.caller, t.route, t.key),
    index('operations_open')
      .on(t.entityId)
      .where(sql`state = 'open'`),
  ],
);

/** Idempotency of plain records: written in the transaction of the change. */
export const idempotencyRecords = pgTable(
  'idempotency_records',
  {
    caller: uuid('caller').notNull(),
    route: text('route').notNull(),
    key: text('key').notNull(),
    bodyHash: text('body_hash').notNull(),
    status: smallint('status').notNull(),
    response: jsonb('response').$type<Record<string, unknown> | null>(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.caller, t.route, t.key] })],
);

/** Events on their way to JetStream; written with the change that they tell of. */
export const outbox = pgTable(
  'outbox',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    eventId: uuid('event_id').notNull().unique(),
    subject: text('subject').notNull(),
    aggregateId: uuid('aggregate_id').notNull(),
    aggregateSeq: integer('aggregate_seq').notNull(),
    /** Order of several events of one transition. */
    position: smallint('position').notNull().default(0),
    partition: smallint('partition').notNull(),
    body: jsonb('body').$type<Record<string, unknown>>().notNull(),
    traceparent: text('traceparent'),
    createdAt: instant('created_at').notNull(),
    publishedAt: instant('published_at'),
  },
  (t) => [
    unique('outbox_aggregate').on(t.aggregateId, t.aggregateSeq, t.position),
    index('outbox_unpublished')
      .on(t.partition, t.id)
      .where(sql`published_at is null`),
    // Of an aggregate that lives for long most rows are published: the waiting ones are found without them.
    index('outbox_waiting')
      .on(t.aggregateId, t.aggregateSeq, t.position)
      .where(sql`published_at is null`),
    index('outbox_published_at')
      .on(t.publishedAt)
      .where(sql`published_at is not null`),
  ],
);

/** Who publishes a partition, until when. `epoch` grows with every change of hands. */
export const outboxPartitions = pgTable('outbox_partitions', {
  partition: smallint('partition').primaryKey(),
  owner: text('owner'),
  epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  expiresAt: instant('expires_at'),
});

export const policyValues = pgTable('policy_values', {
  key: text('key').primaryKey(),
  value: jsonb('value').$type<number | boolean | string>().notNull(),
  /** Null while the seeded default stands. */
  updatedAt: instant('updated_at'),
});

/** Append-only by grant and by trigger. */
export const auditLogs = pgTable(
  'audit_logs',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    at: instant('at').notNull(),
    actorUserId: uuid('actor_user_id'),
    actorRole: text('actor_role').notNull(),
    action: text('action').notNull(),
    targetType: text('target_type').notNull(),
    targetId: text('target_id'),
    result: text('result').notNull(),
    correlationId: text('correlation_id').notNull(),
    details: jsonb('details').$type<Record<string, unknown>>().notNull(),
  },
  (t) => [
    index('audit_logs_at').on(t.at, t.id),
    index('audit_logs_target').on(t.targetType, t.targetId),
    index('audit_logs_actor').on(t.actorUserId, t.at),
    check('audit_logs_result', sql`${t.result} in ('succeeded', 'refused')`),
  ],
);
