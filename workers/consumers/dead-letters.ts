/** Dead letters on the wire: their headers, both ways. */
import { headers as natsHeaders, type MsgHdrs } from 'nats';
import { isCorrelationId } from '../../contracts/envelope.ts';
import {
  deadLetterHeaders,
  deadLetterReasons,
  replayHeader,
  type DeadLetterReason,
} from '../../contracts/ops/dead-letter.ts';
import type { ArrivedLetter } from '../../db/ops/dead-letter.store.ts';

export const messageIdHeader = 'Nats-Msg-Id';
export const correlationHeader = 'Correlation-Id';
const traceHeader = 'traceparent';
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const replaySuffix = /\/replay-\d+$/;
const maxDetailChars = 1000;

/** A message that a consumer gives up. */
export interface Surrendered {
  readonly group: string;
  /** Durable of the group on the subject. */
  readonly consumer: string;
  /** Subject of the channel, not the one of a replay. */
  readonly subject: string;
  readonly stream: string;
  readonly streamSeq: number;
  readonly deliveries: number;
  readonly storedAt: Date;
  readonly headers: MsgHdrs | undefined;
  readonly body: Uint8Array;
  readonly reason: DeadLetterReason;
  readonly errorCode: string;
  /** Places and rules, never values. */
  readonly detail: string;
}

/** Which replay of a letter a message is; undefined for an original. */
export function replayOf(headers: MsgHdrs | undefined): number | undefined {
  const attempt = Number(headers?.get(replayHeader) || NaN);
  return Number.isSafeInteger(attempt) && attempt > 0 ? attempt : undefined;
}

/** The event's id, where the body is JSON and has one. */
export function eventIdIn(body: Uint8Array): string | undefined {
  try {
    const message: unknown = JSON.parse(new TextDecoder().decode(body));
    const id: unknown =
      typeof message === 'object' && message !== null ? Reflect.get(message, 'event_id') : undefined;
    return typeof id === 'string' && uuidPattern.test(id) ? id.toLowerCase() : undefined;
  } catch {
    return undefined;
  }
}

/** What names the message for its consumer: the event's id, or where it was stored first; a replay keeps it. */
export function messageKeyOf(of: Pick<Surrendered, 'body' | 'headers' | 'stream' | 'streamSeq'>): string {
  const eventId = eventIdIn(of.body);
  if (eventId !== undefined) return eventId;
  const messageId = of.headers?.get(messageIdHeader) ?? '';
  if (replayOf(of.headers) !== undefined && replaySuffix.test(messageId))
    return messageId.replace(replaySuffix, '');
  return `${of.stream}:${of.streamSeq}`;
}

/**
 * Headers of the message in the DLQ. Its id is the message's and the consumer's: the same surrender, reported twice, is
 * stored once.
 */
export function letterHeaders(
  of: Surrendered,
  lastAt: Date,
): { readonly msgID: string; readonly headers: MsgHdrs } {
  const made = natsHeaders();
  const set = (name: string, value: string) => made.set(name, printable(value));
  set(deadLetterHeaders.reason, of.reason);
  set(deadLetterHeaders.errorCode, of.errorCode);
  set(deadLetterHeaders.detail, of.detail.slice(0, maxDetailChars));
  set(deadLetterHeaders.consumer, of.consumer);
  set(deadLetterHeaders.group, of.group);
  set(deadLetterHeaders.subject, of.subject);
  set(deadLetterHeaders.stream, of.stream);
  set(deadLetterHeaders.streamSeq, String(of.streamSeq));
  set(deadLetterHeaders.deliveries, String(of.deliveries));
  set(deadLetterHeaders.firstAt, of.storedAt.toISOString());
  set(deadLetterHeaders.lastAt, lastAt.toISOString());
  for (const kept of [correlationHeader, traceHeader, replayHeader]) {
    const value = of.headers?.get(kept);
    if (value !== undefined && value !== '') set(kept, value);
  }
  const replay = replayOf(of.headers);
  const msgID = `${messageKeyOf(of)}/${of.consumer}${replay === undefined ? '' : `/replay-${replay}`}`;
  return { msgID, headers: made };
}

/** Header values are visible ASCII and blanks. */
const printable = (value: string): string => value.replaceAll(/[^\x20-\x7e]/g, '?');

const isReason = (value: string): value is DeadLetterReason =>
  (deadLetterReasons as readonly string[]).includes(value);

/**
 * A message of the DLQ as the desk writes it down. One that no consumer of ours sent is kept as well, as what it is: a
 * stranger's.
 */
export function readLetter(message: {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
  readonly storedAt: Date;
}): ArrivedLetter {
  const header = (name: keyof typeof deadLetterHeaders) =>
    message.headers?.get(deadLetterHeaders[name]) ?? '';
  const reason = header('reason');
  const ours = isReason(reason) && header('consumer') !== '';
  const stream = ours ? header('stream') : 'DLQ';
  const streamSeq = ours ? Number(header('streamSeq')) : message.seq;
  const messageId = message.headers?.get(messageIdHeader) ?? '';
  const eventId = eventIdIn(message.data) ?? null;
  const consumer = ours ? header('consumer') : 'unknown';
  const fromId = messageId.replace(replaySuffix, '').replace(`/${consumer}`, '');
  const correlationId = message.headers?.get(correlationHeader) ?? '';
  return {
    consumer,
    consumerGroup: ours ? header('group') : 'unknown',
    messageKey: eventId ?? (ours && fromId !== '' ? fromId : `${stream}:${streamSeq}`),
    subject: ours ? header('subject') : message.subject.replace(/^dlq\./, ''),
    eventId,
    correlationId: isCorrelationId(correlationId) ? correlationId : null,
    reason: isReason(reason) && ours ? reason : 'rejected',
    errorCode: ours ? header('errorCode') : 'foreign_message',
    detail: ours ? header('detail') : 'It was sent by none of our consumers.',
    body: Buffer.from(message.data),
    stream,
    streamSeq,
    deliveries: Number(header('deliveries')) || 0,
    firstAt: instantOr(header('firstAt'), message.storedAt),
    lastAt: instantOr(header('lastAt'), message.storedAt),
    dlqSeq: message.seq,
  };
}

function instantOr(text: string, otherwise: Date): Date {
  const parsed = new Date(text);
  return Number.isNaN(parsed.getTime()) ? otherwise : parsed;
}
