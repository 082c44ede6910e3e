import type { AnyChannel, PayloadOf } from '../contracts/envelope.ts';
import { uuid5 } from '../contracts/uuid5.ts';
import type { Tx } from './client.ts';
import { outbox } from './schema.ts';

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

/**
 * Writes an event into the outbox of the caller's transaction: the only way to publish. A repeat of the same fact finds
 * its row and changes nothing.
 * @throws when the payload does not fit its channel or the event is over `maxEventBytes` (defects of the producer).
 */
export async function publish<C extends AnyChannel>(
  tx: Tx,
  channel: C,
  input: PublishInput<C>,
): Promise<string> {
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
  await tx
    .insert(outbox)
    .values({
      eventId,
      subject: channel.subject,
      aggregateId: input.aggregateId,
      aggregateSeq: input.aggregateSeq,
      position: input.position ?? 0,
      partition: partitionOf(input.aggregateId),
      body,
      traceparent: input.traceparent ?? null,
      createdAt: input.occurredAt,
    })
    .onConflictDoNothing({ target: outbox.eventId });
  return eventId;
}

/** Partition of an aggregate: the last byte of its uuid, folded. */
export const partitionOf = (aggregateId: string): number =>
  Number.parseInt(aggregateId.slice(-2), 16) % outboxPartitionCount;
