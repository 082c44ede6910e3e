/** Sends consumers what they owe and their own streams will not deliver again. */
import { headers, NatsError } from 'nats';
import type { ConsumerInfo, JetStreamManager, JetStreamPublishOptions, NatsConnection } from 'nats';
import { replaySubject } from '../../contracts/streams.ts';
import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import {
  owedEvents,
  storedEvents,
  type OwedEvent,
  type Owing,
  type StoredEvent,
} from '../../db/ops/event.store.ts';
import { correlationOf } from '../relay/ports.ts';
import { readStream } from '../relay/read-stream.ts';
import { correlationHeader, messageIdHeader } from './dead-letters.ts';

/** Rows of the outbox that one statement looks at. */
const owedPage = 2000;
/** Messages whose bodies are loaded and published at once, and bytes of them that are. */
const windowMessages = 64;
const windowBytes = 4 * 1_048_576;
const encoder = new TextEncoder();
/** More than passes until the reading begins; what is read too much is told apart by its sequence. */
const startSlackMs = 10_000;

/** A consumer that may owe. */
export interface Debtor extends Owing {
  /** Whose replays it reads. */
  readonly group: string;
  /** Stream of its durable. */
  readonly stream: string;
}

/**
 * Sends each consumer what it owes the way replays go, past its own stream, which remembers the event's id. What it is
 * about to consume anyway finds its effect there, or the other does.
 * @param loss tells this loss from others: what was sent for an earlier one is sent again.
 * @returns how many messages were sent.
 * @throws when one of them was not stored; sent again under the same ids, the others are dropped as repeats.
 */
export async function sendAgain(
  { nc, db }: { readonly nc: NatsConnection; readonly db: Database },
  debtors: readonly Debtor[],
  loss: string,
): Promise<number> {
  if (debtors.length === 0) return 0;
  const groups = new Map(debtors.map(({ consumer, group }) => [consumer, group]));
  const waits = await whatWaits(nc, debtors);
  let total = 0;
  for (let after: number | null = 0; after !== null;) {
    const page: Awaited<ReturnType<typeof owedEvents>> = await owedEvents(db.q, debtors, after, owedPage);
    const due = page.owed.filter((one) => !waits(one));
    for (let from = 0; from < due.length; from += windowMessages) {
      const window = due.slice(from, from + windowMessages);
      const events = await storedEvents(db.q, [...new Set(window.map((one) => one.eventId))]);
      assertNoConnectionHeld('nats');
      const messages = window.flatMap(({ consumer, eventId }) => {
        const event = events.get(eventId);
        return event === undefined ? [] : [messageOf(event, consumer, groups.get(consumer) ?? '', loss)];
      });
      await publishAll(nc, messages);
      total += messages.length;
    }
    after = page.lastId;
  }
  return total;
}

interface Message {
  readonly subject: string;
  readonly body: Uint8Array;
  readonly options: Partial<JetStreamPublishOptions>;
}

function messageOf(event: StoredEvent, consumer: string, group: string, loss: string): Message {
  const correlationId = correlationOf(event);
  const extra = headers();
  if (correlationId !== undefined) extra.set(correlationHeader, correlationId);
  if (event.traceparent !== null) extra.set('traceparent', event.traceparent);
  return {
    subject: replaySubject(group, event.subject),
    body: encoder.encode(JSON.stringify(event.body)),
    options: { msgID: `${event.eventId}/${consumer}/owed/${loss}`, headers: extra },
  };
}

/** Publishes all of them; no more than so many bytes wait for an answer at once, or one message. */
async function publishAll(nc: NatsConnection, messages: readonly Message[]): Promise<void> {
  const js = nc.jetstream();
  let [waiting, bytes]: [Promise<unknown>[], number] = [[], 0];
  for (const { subject, body, options } of messages) {
    if (waiting.length > 0 && bytes + body.length > windowBytes) {
      await Promise.all(waiting);
      [waiting, bytes] = [[], 0];
    }
    waiting.push(js.publish(subject, body, options));
    bytes += body.length;
  }
  await Promise.all(waiting);
}

/**
 * What the durables will still deliver by themselves: events that their stream holds above what they have delivered. A
 * redelivery does not move that place back, so what is at or below it may be given up already, and is not excluded. A
 * time would not do instead: a row is marked as published any time after it is stored. Memory: some hundred bytes per
 * event that waits.
 */
async function whatWaits(
  nc: NatsConnection,
  debtors: readonly Debtor[],
): Promise<(owed: OwedEvent) => boolean> {
  const jsm = await nc.jetstreamManager();
  const infos = new Map<string, ConsumerInfo>();
  for (const stream of new Set(debtors.map((one) => one.stream))) {
    for await (const info of jsm.consumers.list(stream)) infos.set(info.name, info);
  }
  const delivered = new Map<string, number>();
  const behind = new Map<string, { readonly stream: string; readonly seq: number }>();
  for (const { consumer, subject, stream } of debtors) {
    const info = infos.get(consumer);
    if (info === undefined) throw new Error(`durable ${consumer} was deleted while its stream was looked at`);
    const seq = info.delivered.stream_seq;
    delivered.set(consumer, seq);
    if (info.num_pending === 0) continue;
    behind.set(subject, { stream, seq: Math.min(seq, behind.get(subject)?.seq ?? seq) });
  }
  /** The highest place of an event: it may lie there twice. */
  const places = new Map<string, number>();
  for (const [subject, { stream, seq }] of behind) {
    const since = await storedSince(jsm, stream, subject, seq);
    if (since === undefined) continue;
    const sinceMs = Date.now() - since.getTime() + startSlackMs;
    const range = { stream, subjects: [subject], sinceMs, headersOnly: true };
    for await (const batch of readStream(nc, range)) {
      for (const message of batch) {
        const eventId = message.headers?.get(messageIdHeader);
        if (eventId) places.set(eventId, message.seq);
      }
    }
  }
  return ({ consumer, eventId }) => (places.get(eventId) ?? 0) > (delivered.get(consumer) ?? 0);
}

/** When the first message of the subject above a place was stored; undefined when there is none. */
async function storedSince(
  jsm: JetStreamManager,
  stream: string,
  subject: string,
  seq: number,
): Promise<Date | undefined> {
  // The server takes both; the client's type knows them for the direct API only.
  const query = { seq: seq + 1, next_by_subj: subject };
  try {
    return (await jsm.streams.getMessage(stream, query)).time;
  } catch (error) {
    if (error instanceof NatsError && (error.code === '404' || error.api_error?.code === 404))
      return undefined;
    throw error;
  }
}
