/** What becomes of one delivery of an event: the effect once, or a repeat, or a dead letter; never nothing. */
import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamClient, JsMsg } from 'nats';
import type { Logger } from 'pino';
import {
  readMessage,
  type AnyChannel,
  type EventEnvelope,
  type ReadMessage,
} from '../../contracts/envelope.ts';
import { consumerName } from '../../contracts/streams.ts';
import { isErrorCode } from '../../contracts/errors.ts';
import type { DeadLetterCode, DeadLetterReason } from '../../contracts/ops/dead-letter.ts';
import { assertNoConnectionHeld, isDatabaseUnavailable, sqlState, type Database } from '../../db/client.ts';
import { readNow } from '../../db/clock.ts';
import { isRemembered, rememberEvent } from '../../db/ops/event.store.ts';
import { pauseAfter, type Backoff } from './backoff.ts';
import { addresseeOf, correlationHeader, storeLetter, type Surrendered } from './dead-letters.ts';
import { quietly } from './durable-loop.ts';
import type { Outage } from './outage.ts';
import { RejectedEvent, TargetUnavailable, type AfterCommit, type Subscription } from './subscription.ts';

/** An error that tells of an outage which no probe can find is the event's own, after so many tries. */
const maxFalseAlarms = 5;
/** A letter that cannot be stored is tried again at least so often. */
const maxBurialPauseMs = 2000;

/** How a delivery ended. */
export type Outcome =
  | 'applied'
  /** The effect was there. */
  | 'duplicate'
  /** It will be delivered again. */
  | 'failed'
  /** In the DLQ. */
  | 'dead'
  /** Given back unfinished, because this process ends. */
  | 'returned';

export interface DeliveryDeps {
  readonly db: Database;
  readonly js: JetStreamClient;
  readonly log: Logger;
  readonly backoff: Backoff;
  readonly database: Outage;
  /** What commands are sent to. */
  readonly target: Outage;
  readonly isStopping: () => boolean;
  readonly buried: (consumer: string, reason: DeadLetterReason) => void;
  /** Runs around each handler: a span, for example. */
  readonly around?: (of: Around, run: () => Promise<void>) => Promise<void>;
}

/** What is known of a delivery before its handler runs. */
export interface Around {
  readonly group: string;
  readonly consumer: string;
  readonly subject: string;
  readonly eventId: string;
  readonly correlationId: string;
  readonly traceparent: string | undefined;
}

/** A delivery and whom it is for. */
export interface Delivery {
  readonly message: JsMsg;
  readonly subscription: Subscription;
  readonly maxDeliver: number;
}

/** Deals with one delivery, its acknowledgement included. Never rejects. */
export async function deliver(deps: DeliveryDeps, delivery: Delivery): Promise<Outcome> {
  const { message, subscription } = delivery;
  const { channel, group } = subscription;
  const work = async (): Promise<Outcome> => {
    const read = await readAtItsTime(deps, channel, message.data);
    if (!read.ok) {
      const { reason, detail } = read;
      const why = { subject: channel.subject, reason, errorCode: reason, detail };
      return await bury(deps, { message, group }, why);
    }
    const outcome = await attempt(deps, delivery, read.event);
    quietly(() => message.ack());
    return outcome;
  };
  return await holdThroughOutages(deps, message, work, (error) => failed(deps, delivery, error));
}

/**
 * Does the work of a delivery, and again after each outage that it meets: meanwhile the delivery stays in hand. When
 * this process ends before the outage, it is given back.
 * @param work settles the message when it succeeds. @param failed does for an error that is the message's own.
 */
export async function holdThroughOutages(
  deps: Pick<DeliveryDeps, 'database' | 'target' | 'isStopping'>,
  message: JsMsg,
  work: () => Promise<Outcome>,
  failed: (error: unknown) => Promise<Outcome>,
): Promise<Outcome> {
  for (let falseAlarms = 0; ;) {
    try {
      return await work();
    } catch (error) {
      const outage = outageOf(deps, error);
      if (outage === undefined || falseAlarms === maxFalseAlarms) return await failed(error);
      if (!(await outage.met())) falseAlarms += 1;
      if (!deps.isStopping()) continue;
      quietly(() => message.nak());
      return 'returned';
    }
  }
}

/** How long an old version is taken is a matter of the database's clock; only a channel that has one asks for it. */
async function readAtItsTime(
  deps: DeliveryDeps,
  channel: AnyChannel,
  body: Uint8Array,
): Promise<ReadMessage<AnyChannel>> {
  const at = channel.previous === undefined ? new Date(0) : await readNow(deps.db.q);
  try {
    return readMessage(channel, body, at);
  } catch (error) {
    // An `upgrade` of an old version that throws is a message that cannot be read.
    return { ok: false, reason: 'schema_violation', detail: `it cannot be upgraded: ${kindOf(error)}` };
  }
}

/** Which outage an error tells of. An outage is no fault of the event: its delivery is held until it is over. */
function outageOf(deps: Pick<DeliveryDeps, 'database' | 'target'>, error: unknown): Outage | undefined {
  if (error instanceof TargetUnavailable) return deps.target;
  return isDatabaseUnavailable(error) ? deps.database : undefined;
}

async function attempt(deps: DeliveryDeps, delivery: Delivery, event: EventEnvelope): Promise<Outcome> {
  const { message, subscription } = delivery;
  const { group, channel } = subscription;
  const consumer = consumerName(group, channel.subject);
  const delivered = {
    event,
    stream: message.info.stream,
    streamSeq: message.seq,
    delivery: message.info.deliveryCount,
  };
  let outcome: Outcome = 'applied';
  const run = async (): Promise<void> => {
    if (subscription.kind === 'record') {
      if (!(await subscription.write(deps.db.q, consumer, delivered))) outcome = 'duplicate';
      return;
    }
    if (subscription.kind === 'effect') {
      let after: AfterCommit | undefined;
      const known = await subscription.before(delivered);
      const fresh = await deps.db.tx(async (tx) => {
        if (!(await rememberEvent(tx, consumer, event.event_id))) return false;
        after = await subscription.apply(tx, delivered, known);
        return true;
      });
      if (fresh) await afterwards(deps, consumer, after);
      else outcome = 'duplicate';
      return;
    }
    if (await subscription.dismiss?.(deps.db.q, consumer, delivered)) return;
    if (await isRemembered(deps.db.q, consumer, event.event_id)) {
      outcome = 'duplicate';
      return;
    }
    assertNoConnectionHeld('a command');
    await subscription.send(delivered);
    await rememberEvent(deps.db.q, consumer, event.event_id);
  };
  if (deps.around === undefined) await run();
  else await deps.around(aroundOf(message, group, consumer, channel.subject, event), run);
  return outcome;
}

const aroundOf = (
  message: JsMsg,
  group: string,
  consumer: string,
  subject: string,
  event: EventEnvelope,
): Around => ({
  group,
  consumer,
  subject,
  eventId: event.event_id,
  correlationId: event.correlation_id,
  traceparent: message.headers?.get('traceparent') || undefined,
});

async function afterwards(
  deps: DeliveryDeps,
  consumer: string,
  after: AfterCommit | undefined,
): Promise<void> {
  try {
    await after?.();
  } catch (error) {
    // The effect is committed; what follows is best effort by its contract.
    deps.log.warn({ consumer, err: error }, 'the work after an effect failed');
  }
}

async function failed(deps: DeliveryDeps, delivery: Delivery, error: unknown): Promise<Outcome> {
  const { message, subscription, maxDeliver } = delivery;
  const { group, channel } = subscription;
  const count = message.info.deliveryCount;
  deps.log.warn(
    {
      consumer: consumerName(group, channel.subject),
      delivery: count,
      max_deliver: maxDeliver,
      correlation_id: message.headers?.get(correlationHeader),
      err: error,
    },
    'an event could not be consumed',
  );
  if (error instanceof RejectedEvent) {
    return await bury(
      deps,
      { message, group: subscription.group },
      {
        subject: channel.subject,
        reason: 'rejected',
        errorCode: error.errorCode,
        detail: error.message,
      },
    );
  }
  if (count >= maxDeliver) {
    return await bury(
      deps,
      { message, group: subscription.group },
      {
        subject: channel.subject,
        reason: 'exhausted',
        errorCode: codeOf(error),
        detail: kindOf(error),
      },
    );
  }
  quietly(() => message.nak(pauseAfter(count, deps.backoff)));
  return 'failed';
}

/**
 * Into the DLQ, then out of the stream's hands. What cannot be stored there yet stays in hand until it can: JetStream
 * delivers nothing after the last delivery, and its advisory does not know the reason. When this process ends before, the
 * message is given back.
 */
export async function bury(
  deps: Pick<DeliveryDeps, 'js' | 'log' | 'backoff' | 'buried' | 'isStopping'>,
  { message, group }: { readonly message: JsMsg; readonly group: string },
  why: {
    readonly subject: string;
    readonly reason: DeadLetterReason;
    readonly errorCode: DeadLetterCode;
    readonly detail: string;
  },
): Promise<Outcome> {
  const { subject } = why;
  const addressee = addresseeOf(group, subject);
  const { consumer } = addressee;
  const { info } = message;
  const surrendered: Surrendered = {
    ...addressee,
    stream: info.stream,
    streamSeq: message.seq,
    deliveries: info.deliveryCount,
    storedAt: new Date(info.timestampNanos / 1e6),
    headers: message.headers,
    body: message.data,
    ...why,
  };
  if (!(await stored(deps, surrendered))) {
    quietly(() => message.nak());
    return 'returned';
  }
  quietly(() => message.term());
  deps.buried(consumer, why.reason);
  deps.log.error(
    {
      consumer,
      reason: why.reason,
      error_code: why.errorCode,
      correlation_id: message.headers?.get(correlationHeader),
    },
    'an event went to the DLQ',
  );
  return 'dead';
}

/** Stores a letter however often it takes. @returns false when this process ends before. */
async function stored(
  deps: Pick<DeliveryDeps, 'js' | 'log' | 'backoff' | 'isStopping'>,
  surrendered: Surrendered,
): Promise<boolean> {
  assertNoConnectionHeld('nats');
  const gaveUpAt = new Date();
  const backoff = { ...deps.backoff, maxMs: Math.min(deps.backoff.maxMs, maxBurialPauseMs) };
  for (let tries = 1; ; tries += 1) {
    try {
      await storeLetter(deps.js, surrendered, gaveUpAt);
      return true;
    } catch (error) {
      const { consumer } = surrendered;
      deps.log.warn({ consumer, tries, err: error }, 'a dead letter cannot be stored yet');
      if (deps.isStopping()) return false;
      await delay(pauseAfter(tries, backoff));
    }
  }
}

/** Code of the catalogue, or SQLSTATE; never a text of the failure, which may hold values. */
function codeOf(error: unknown): DeadLetterCode {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  if (isErrorCode(code)) return code;
  const state = sqlState(error);
  return state === undefined ? 'internal_error' : `sqlstate_${state.toLowerCase()}`;
}

const kindOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown');
