/** Dead letters on the wire: their headers, both ways. */
import {
  ErrorCode,
  headers as natsHeaders,
  NatsError,
  type JetStreamClient,
  type MsgHdrs,
  type PubAck,
} from 'nats';
import { dlqSubject, isCorrelationId } from '../../contracts/envelope.ts';
import {
  deadLetterHeaders,
  deadLetterReasons,
  replayHeader,
  strangersGroup,
  type DeadLetterCode,
  type DeadLetterReason,
} from '../../contracts/ops/dead-letter.ts';
import { consumerName } from '../../contracts/streams.ts';
import type { ArrivedLetter } from '../../db/ops/dead-letter.store.ts';

export const messageIdHeader = 'Nats-Msg-Id';
export const correlationHeader = 'Correlation-Id';
const traceHeader = 'traceparent';
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const replaySuffix = /\/replay-\d+$/;
const maxDetailChars = 1000;
/** Of what is indexed or filtered by. */
const maxNameChars = 200;
const maxDeliveries = 2_147_483_647;

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
  readonly errorCode: DeadLetterCode;
  /** Places and rules, never values. */
  readonly detail: string;
}

/**
 * The group that a message is for, and its durable. A subject that no channel can have, as one that somebody sent by hand
 * on `replay.<group>.<subject>` may, is nobody's: it is a stranger's.
 */
export function addresseeOf(group: string, subject: string): Pick<Surrendered, 'group' | 'consumer'> {
  try {
    return { group, consumer: consumerName(group, subject) };
  } catch {
    return { group: strangersGroup, consumer: strangersGroup };
  }
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
 * Headers of the message in the DLQ, but for the length of a body that is cut. Its id is the message's and the consumer's:
 * the same surrender, reported twice, is stored once.
 */
function letterHeaders(of: Surrendered, lastAt: Date): { readonly msgID: string; readonly headers: MsgHdrs } {
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

/**
 * Stores a letter in the DLQ. A body that does not fit into a message together with the headers is cut, and a header says
 * how long it was.
 * @throws NatsError when it cannot be stored now.
 */
export async function storeLetter(
  js: Pick<JetStreamClient, 'publish'>,
  of: Surrendered,
  lastAt: Date,
): Promise<PubAck> {
  const letter = letterHeaders(of, lastAt);
  for (let keptBytes = of.body.byteLength; ; keptBytes = Math.floor(keptBytes / 2)) {
    try {
      return await js.publish(dlqSubject(of.subject), of.body.subarray(0, keptBytes), letter);
    } catch (error) {
      const isTooLong = error instanceof NatsError && error.code === String(ErrorCode.MaxPayloadExceeded);
      if (!isTooLong || keptBytes === 0) throw error;
      letter.headers.set(deadLetterHeaders.wholeBytes, String(of.body.byteLength));
    }
  }
}

/** Header values are visible ASCII and blanks. */
const printable = (value: string): string => value.replaceAll(/[^\x20-\x7e]/g, '?');

const isReason = (value: string): value is DeadLetterReason =>
  (deadLetterReasons as readonly string[]).includes(value);

/** A message of the DLQ. */
interface DlqMessage {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
  readonly storedAt: Date;
}

/** What the headers of a letter say. */
type Told = Omit<ArrivedLetter, 'eventId' | 'correlationId' | 'body' | 'dlqSeq'>;

/**
 * A message of the DLQ as the desk writes it down. One that no consumer of ours sent, or whose headers no consumer of
 * ours can have written, is kept as well, as what it is: a stranger's.
 */
export function readLetter(message: DlqMessage): ArrivedLetter {
  const told = toldByUs(message) ?? toldOfStranger(message);
  const eventId = eventIdIn(message.data) ?? eventIdOfCut(told) ?? null;
  const correlationId = message.headers?.get(correlationHeader) ?? '';
  return {
    ...told,
    messageKey: eventId ?? told.messageKey,
    eventId,
    correlationId: isCorrelationId(correlationId) ? correlationId : null,
    body: Buffer.from(message.data),
    dlqSeq: message.seq,
  };
}

/** A body that was cut names its event no more; its key is the event's id, where it had one. */
const eventIdOfCut = ({ wholeBytes, messageKey }: Told): string | undefined =>
  wholeBytes !== undefined && uuidPattern.test(messageKey) ? messageKey : undefined;

/** Undefined when a header is not as `letterHeaders` writes it. */
function toldByUs(message: DlqMessage): Told | undefined {
  const header = (name: keyof typeof deadLetterHeaders) =>
    message.headers?.get(deadLetterHeaders[name]) ?? '';
  const [reason, group, consumer, subject] = [
    header('reason'),
    header('group'),
    header('consumer'),
    header('subject'),
  ];
  const stream = header('stream');
  const streamSeq = countIn(header('streamSeq'), Number.MAX_SAFE_INTEGER);
  const deliveries = countIn(header('deliveries'), maxDeliveries);
  const isNamed = consumer !== strangersGroup && addresseeOf(group, subject).consumer === consumer;
  if (!isReason(reason) || !isNamed || consumer.length > maxNameChars) return undefined;
  if (!/^[\w-]{1,255}$/.test(stream) || streamSeq === undefined || deliveries === undefined) return undefined;
  const messageId = message.headers?.get(messageIdHeader) ?? '';
  const fromId = messageId.replace(replaySuffix, '').replace(`/${consumer}`, '');
  const wholeBytes = countIn(header('wholeBytes'), Number.MAX_SAFE_INTEGER);
  const isKey = fromId !== '' && fromId.length <= maxNameChars && fromId === printable(fromId);
  return {
    consumer,
    consumerGroup: group,
    messageKey: isKey ? fromId : `${stream}:${streamSeq}`,
    subject,
    reason,
    errorCode: printable(header('errorCode')).slice(0, maxNameChars),
    detail: printable(header('detail')).slice(0, maxDetailChars),
    stream,
    streamSeq,
    deliveries,
    firstAt: instantOr(header('firstAt'), message.storedAt),
    lastAt: instantOr(header('lastAt'), message.storedAt),
    ...(wholeBytes === undefined ? {} : { wholeBytes }),
  };
}

const toldOfStranger = (message: DlqMessage): Told => ({
  consumer: strangersGroup,
  consumerGroup: strangersGroup,
  messageKey: `DLQ:${message.seq}`,
  subject: printable(message.subject.replace(/^dlq\./, '')).slice(0, maxNameChars),
  reason: 'rejected',
  errorCode: 'foreign_message',
  detail: 'It was sent by none of our consumers.',
  stream: 'DLQ',
  streamSeq: message.seq,
  deliveries: 0,
  firstAt: message.storedAt,
  lastAt: message.storedAt,
});

/** A whole number from 0; undefined for anything else. */
function countIn(text: string, max: number): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const count = Number(text);
  return count <= max ? count : undefined;
}

/** The instant where the text is one as we write it. */
function instantOr(text: string, otherwise: Date): Date {
  const isOurs = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !text.startsWith('0000');
  const parsed = new Date(isOurs ? text : NaN);
  return Number.isNaN(parsed.getTime()) ? otherwise : parsed;
}
