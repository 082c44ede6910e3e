import { z } from 'zod';

const correlationPattern = /^[\x21-\x7e]{1,128}$/;

/** True for 1 to 128 visible ASCII characters; anything else is replaced, not refused. */
export const isCorrelationId = (value: unknown): value is string =>
  typeof value === 'string' && correlationPattern.test(value);

/** The payload fields of one channel and where it goes; the source of schema, type, consumer and document. */
export interface Channel<S extends string, P extends z.ZodObject> {
  readonly subject: S;
  readonly messageName: string;
  readonly operationId: string;
  readonly direction: 'publish' | 'subscribe';
  readonly description?: string;
  readonly version: string;
  readonly payload: P;
  readonly nats: NatsConfig;
}

/** Any channel, for code that is generic over them. */
export type AnyChannel = Channel<string, z.ZodObject>;

/** Payload of a channel. */
export type PayloadOf<C extends AnyChannel> = z.infer<C['payload']>;

/** `x-nats-config` of a channel. */
export interface NatsConfig {
  readonly ackWaitSeconds: number;
  readonly maxDeliver: number;
}

/** Declares a channel; `dlq_subject` is always `dlq.` + subject. */
export const channel = <S extends string, P extends z.ZodObject>(declared: Channel<S, P>): Channel<S, P> =>
  declared;

/** `dlq.<subject>`. */
export const dlqSubject = (subject: string): string => `dlq.${subject}`;

/** The closed merged message of a channel: envelope and payload (D-0004). */
export const messageSchema = <S extends string, P extends z.ZodObject>(of: Channel<S, P>) =>
  z.strictObject({
    event_id: z.uuid(),
    event_type: z.literal(of.subject),
    occurred_at: z.iso.datetime({ offset: true }),
    version: z.string(),
    correlation_id: z.string(),
    payload: of.payload,
  });

/** A message as it travels, generic over its payload. */
export interface EventEnvelope<P = unknown> {
  readonly event_id: string;
  readonly event_type: string;
  readonly occurred_at: string;
  readonly version: string;
  readonly correlation_id: string;
  readonly payload: P;
}
