import type { AnyChannel, EventEnvelope, PayloadOf } from '../../contracts/envelope.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import type { Queryable, Tx } from '../../db/client.ts';

/** Who consumes: one durable JetStream consumer for each group and subject. */
export type ConsumerGroup =
  'provisioning' | 'billing' | 'account' | 'notification-relay' | 'event-log' | 'dlq-desk';

/** One delivery, as a handler sees it. */
export interface Delivered<P> {
  readonly event: EventEnvelope<P>;
  readonly stream: string;
  readonly streamSeq: number;
  /** From 1. */
  readonly delivery: number;
}

/** Work to do once the effect is committed; best effort: what must not be lost belongs into the effect. */
export type AfterCommit = () => void | Promise<void>;

/** A typed consumer of one channel. Make it with `record`, `effect` or `command`. */
export type Subscription =
  | {
      readonly kind: 'record';
      readonly group: ConsumerGroup;
      readonly channel: AnyChannel;
      readonly write: (q: Queryable, consumer: string, delivered: Delivered<unknown>) => Promise<boolean>;
    }
  | {
      readonly kind: 'effect';
      readonly group: ConsumerGroup;
      readonly channel: AnyChannel;
      /** What has to be known before the transaction; `apply` gets it. */
      readonly before: (delivered: Delivered<unknown>) => Promise<unknown>;
      readonly apply: (
        tx: Tx,
        delivered: Delivered<unknown>,
        known: unknown,
      ) => Promise<AfterCommit | undefined>;
    }
  | {
      readonly kind: 'command';
      readonly group: ConsumerGroup;
      readonly channel: AnyChannel;
      /** Remembers the event when there is nothing to command, and says so; without it every event is a command. */
      readonly dismiss?: (q: Queryable, consumer: string, delivered: Delivered<unknown>) => Promise<boolean>;
      readonly send: (delivered: Delivered<unknown>) => Promise<void>;
    };

/**
 * An effect of one statement, which also remembers the event for `consumer` (`remembering` in db/ops/event.store.ts) and
 * says false when it was remembered before. A quarter of the round trips of `effect`.
 */
export const record = <C extends AnyChannel>(
  group: ConsumerGroup,
  channel: C,
  write: (q: Queryable, consumer: string, delivered: Delivered<PayloadOf<C>>) => Promise<boolean>,
): Subscription => ({
  kind: 'record',
  group,
  channel,
  write: (q, consumer, delivered) => write(q, consumer, delivered as Delivered<PayloadOf<C>>),
});

/**
 * An effect in Postgres: runs in the transaction that also remembers the event for this group, so it happens once
 * however often the event is delivered. Throw `RejectedEvent` for what no repetition can mend; anything else is tried
 * again with growing pauses.
 */
export const effect = <C extends AnyChannel>(
  group: ConsumerGroup,
  channel: C,
  apply: (tx: Tx, delivered: Delivered<PayloadOf<C>>) => Promise<AfterCommit | undefined>,
): Subscription => ({
  kind: 'effect',
  group,
  channel,
  before: () => Promise.resolve(),
  apply: (tx, delivered) => apply(tx, delivered as Delivered<PayloadOf<C>>),
});

/**
 * An effect that has to know something which it cannot read in its transaction, a policy for example: reading that takes
 * a connection of its own, and deliveries that each hold one and wait for a second would starve.
 */
export const informedEffect = <C extends AnyChannel, K>(
  group: ConsumerGroup,
  channel: C,
  before: (delivered: Delivered<PayloadOf<C>>) => Promise<K>,
  apply: (tx: Tx, delivered: Delivered<PayloadOf<C>>, known: K) => Promise<AfterCommit | undefined>,
): Subscription => ({
  kind: 'effect',
  group,
  channel,
  before: (delivered) => before(delivered as Delivered<PayloadOf<C>>),
  apply: (tx, delivered, known) => apply(tx, delivered as Delivered<PayloadOf<C>>, known as K),
});

/**
 * A command to a workflow, whose `updateId` is the event's id; sent outside any transaction. The event is remembered
 * after it was taken.
 */
export const command = <C extends AnyChannel>(
  group: ConsumerGroup,
  channel: C,
  send: (delivered: Delivered<PayloadOf<C>>) => Promise<void>,
): Subscription => ({
  kind: 'command',
  group,
  channel,
  send: (delivered) => send(delivered as Delivered<PayloadOf<C>>),
});

/**
 * As `command`, for an event that hardly ever asks for one: `dismiss` is one statement, which remembers the event for
 * `consumer` (`rememberingWhen` in db/ops/event.store.ts) and says true when there is nothing to command.
 */
export const rareCommand = <C extends AnyChannel>(
  group: ConsumerGroup,
  channel: C,
  dismiss: (q: Queryable, consumer: string, delivered: Delivered<PayloadOf<C>>) => Promise<boolean>,
  send: (delivered: Delivered<PayloadOf<C>>) => Promise<void>,
): Subscription => ({
  kind: 'command',
  group,
  channel,
  dismiss: (q, consumer, delivered) => dismiss(q, consumer, delivered as Delivered<PayloadOf<C>>),
  send: (delivered) => send(delivered as Delivered<PayloadOf<C>>),
});

/** The effect says that no repetition can help: the event goes to the DLQ at once. */
export class RejectedEvent extends Error {
  readonly errorCode: ErrorCode;

  constructor(errorCode: ErrorCode, message: string) {
    super(message);
    this.name = 'RejectedEvent';
    this.errorCode = errorCode;
  }
}

/**
 * What the effect needs is away (a workflow engine, another system): no fault of the event. The delivery is held until
 * it is back, without a count against the event's deliveries.
 */
export class TargetUnavailable extends Error {
  constructor(target: string, cause?: unknown) {
    super(`${target} is away`, { cause });
    this.name = 'TargetUnavailable';
  }
}
