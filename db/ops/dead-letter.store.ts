import { and, eq } from 'drizzle-orm';
import type { DeadLetterReason } from '../../contracts/ops/dead-letter.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { Tx } from '../client.ts';
import { now } from '../clock.ts';
import { deadLetters } from '../schema.ts';
import type { DeadLetterArrival, DeadLetterRow } from './dead-letter.schema.ts';

/** A message of the DLQ, as its headers and its body tell it. */
export interface ArrivedLetter {
  /** Durable that gave it up, also when it came as a replay. */
  readonly consumer: string;
  readonly consumerGroup: string;
  /** Event id, or stream and sequence of a message that has none. */
  readonly messageKey: string;
  readonly subject: string;
  readonly eventId: string | null;
  readonly correlationId: string | null;
  readonly reason: DeadLetterReason;
  readonly errorCode: string | null;
  readonly detail: string | null;
  readonly body: Buffer;
  /** Where the consumer read it: a replay lies in another stream than the original. */
  readonly stream: string;
  readonly streamSeq: number;
  readonly deliveries: number;
  /** When the message was stored there. */
  readonly firstAt: Date;
  /** When its consumer gave it up. */
  readonly lastAt: Date;
  /** Place in the DLQ stream. */
  readonly dlqSeq: number;
  /** Length of the message in bytes where `body` is only its beginning. */
  readonly wholeBytes?: number;
}

/** `first`: a new letter. `again`: it failed once more and is open again. `known`: this arrival is written down. */
export type LetterArrival = 'first' | 'again' | 'known';

/**
 * Writes an arrival down: one row per consumer and message, with the history of its arrivals. Idempotent by the place
 * in the DLQ, and for two reports of the same delivery (one by the consumer, one by JetStream).
 */
export async function recordDeadLetter(
  tx: Tx,
  arrived: ArrivedLetter,
): Promise<{ readonly id: string; readonly arrival: LetterArrival }> {
  const { wholeBytes, ...letter } = arrived;
  const id = uuid5('dead-letter', letter.consumer, letter.messageKey);
  const arrival: DeadLetterArrival = {
    dlq_seq: letter.dlqSeq,
    arrived_at: letter.lastAt.toISOString(),
    reason: letter.reason,
    error_code: letter.errorCode,
    detail: letter.detail,
    deliveries: letter.deliveries,
    stored_at: letter.firstAt.toISOString(),
  };
  const first = wholeBytes === undefined ? arrival : { ...arrival, whole_bytes: wholeBytes };
  const [inserted] = await tx
    .insert(deadLetters)
    .values({ id, ...letter, state: 'open', history: [first], updatedAt: now })
    .onConflictDoNothing()
    .returning({ id: deadLetters.id });
  if (inserted !== undefined) return { id, arrival: 'first' };
  const row = await lockLetter(tx, letter);
  if (isKnown(row, letter)) return { id: row.id, arrival: 'known' };
  await tx
    .update(deadLetters)
    .set({
      reason: letter.reason,
      errorCode: letter.errorCode,
      detail: letter.detail,
      stream: letter.stream,
      streamSeq: letter.streamSeq,
      deliveries: letter.deliveries,
      lastAt: letter.lastAt,
      dlqSeq: letter.dlqSeq,
      state: 'open',
      discardReason: null,
      arrivals: row.arrivals + 1,
      history: [...row.history, arrival],
      updatedAt: now,
    })
    .where(eq(deadLetters.id, row.id));
  return { id: row.id, arrival: 'again' };
}

async function lockLetter(
  tx: Tx,
  of: Pick<ArrivedLetter, 'consumer' | 'messageKey'>,
): Promise<DeadLetterRow> {
  const [row] = await tx
    .select()
    .from(deadLetters)
    .where(and(eq(deadLetters.consumer, of.consumer), eq(deadLetters.messageKey, of.messageKey)))
    .for('update');
  if (row === undefined) throw new Error('a dead letter is gone');
  return row;
}

const isKnown = (row: DeadLetterRow, letter: ArrivedLetter): boolean =>
  row.history.some(
    (one) => one.dlq_seq === letter.dlqSeq && one.arrived_at === letter.lastAt.toISOString(),
  ) || isNewestDelivery(row, letter);

/** What JetStream and the server's client make of the same nanoseconds may be a millisecond apart. */
const sameInstantMs = 1;

/**
 * Whether the newest arrival was of this message. Its place alone does not tell: a stream that was deleted begins at 1
 * again. An entry without the time of storing is of another message when this one was stored after it.
 */
function isNewestDelivery(row: DeadLetterRow, letter: ArrivedLetter): boolean {
  if (row.stream !== letter.stream || row.streamSeq !== letter.streamSeq) return false;
  const newest = row.history.at(-1);
  if (newest?.stored_at === undefined) return letter.firstAt <= row.lastAt;
  return Math.abs(Date.parse(newest.stored_at) - letter.firstAt.getTime()) <= sameInstantMs;
}
