import type { AnyChannel, PayloadOf } from '../contracts/envelope.ts';
import { uuid5 } from '../contracts/uuid5.ts';
import type { Tx } from './client.ts';
import { outbox } from './schema.ts';
import { activeTraceparent } from './trace.ts';

/** Partitions that the relays share out; an aggregate stays in its own. */
export const outboxPartitionCount = 8;

/** Largest event, in bytes of JSON: NATS takes a message of 1 MiB, headers included. */
export const maxEventBytes = 900_000;

export interface PublishInput<C extends AnyChannel> {
  readonly payload: PayloadOf<C>;
  /** The taxonomy's idempotency key, as parts; with the subject they make `event_id`. */
  readonly idempotencyKey: readonly string[];
  readonly aggregateId: string;
  /** The aggregate's version, given under its row lock. */
  readonly aggregateSeq: number;
  /** Order among the events of one version, from 0. */
  readonly position?: number;
  readonly correlationId: string;
  readonly occurredAt: Date;
  readonly traceparent?: string | undefined;
}

/** An event as its outbox row. */
export interface OutboxEntry {
  readonly eventId: string;
  readonly subject: string;
  readonly aggregateId: string;
  readonly aggregateSeq: number;
  readonly position: number;
  readonly partition: number;
  readonly body: Record<string, unknown>;
  readonly traceparent: string | null;
  readonly createdAt: Date;
}

/**
 * Makes an event's row; it is written by `publish`, or by `publishing` within the statement of its change.
 * @throws when the payload does not fit its channel or the event is over `maxEventBytes` (defects of the producer).
 */
export function outboxEntry<C extends AnyChannel>(channel: C, input: PublishInput<C>): OutboxEntry {
  const payload = channel.payload.parse(input.payload);
  const eventId = uuid5('event', channel.subject, ...input.idempotencyKey);
  const body = {
    event_id: eventId,
    event_type: channel.subject,
    occurred_at: input.occurredAt.toISOString(),
    version: channel.version,
    correlation_id: input.correlationId,
    payload,
  };
  const bytes = Buffer.byteLength(JSON.stringify(body));
  if (bytes > maxEventBytes)
    throw new Error(`event on ${channel.subject} has ${bytes} bytes, over ${maxEventBytes}`);
  return {
    eventId,
    subject: channel.subject,
    aggregateId: input.aggregateId,
    aggregateSeq: input.aggregateSeq,
    position: input.position ?? 0,
    partition: partitionOf(input.aggregateId),
    body,
    traceparent: input.traceparent ?? activeTraceparent(),
    createdAt: input.occurredAt,
  };
}

/**
 * Writes an event into the outbox of the caller's transaction: with `publishing` the only way to publish. A repeat of
 * the same fact finds its row and changes nothing.
 * @throws as `outboxEntry`.
 */
export async function publish<C extends AnyChannel>(
  tx: Tx,
  channel: C,
  input: PublishInput<C>,
): Promise<string> {
  const entry = outboxEntry(channel, input);
  await tx.insert(outbox).values(entry).onConflictDoNothing({ target: outbox.eventId });
  return entry.eventId;
}

/**
 * `publish` as a part of one statement: writes the entries of `:events` (see `eventsParameter`) when the part `change`
 * touched a row.
 */
export const publishing = (change: string): string => `
  published as (
    insert into outbox (event_id, subject, aggregate_id, aggregate_seq, position, partition, body, traceparent, created_at)
    select e."eventId", e.subject, e."aggregateId", e."aggregateSeq", e.position, e.partition, e.body, e.traceparent,
      e."createdAt"
    from jsonb_to_recordset(:events::jsonb) as e("eventId" uuid, subject text, "aggregateId" uuid, "aggregateSeq" int,
      position smallint, partition smallint, body jsonb, traceparent text, "createdAt" timestamptz)
    where exists (select 1 from ${change})
    on conflict (event_id) do nothing
  )`;

export const eventsParameter = (entries: readonly OutboxEntry[]): string => JSON.stringify(entries);

/** Partition of an aggregate: the last byte of its uuid, folded. */
export const partitionOf = (aggregateId: string): number =>
  Number.parseInt(aggregateId.slice(-2), 16) % outboxPartitionCount;
