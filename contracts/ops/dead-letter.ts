/** Plain facts of the dead-letter queue, shared by consumers, tables and API. */
import type { ErrorCode } from '../errors.ts';

/** Why a message was given up. */
export const deadLetterReasons = [
  /** The body is no JSON. */
  'not_json',
  /** No channel has this event type, or it came on another channel's subject. */
  'unknown_type',
  /** A major version that this consumer does not read. */
  'unsupported_version',
  /** A field is missing, wrong or foreign to the closed object. */
  'schema_violation',
  /** The effect said that no repetition can help. */
  'rejected',
  /** Every delivery failed. */
  'exhausted',
  /** JetStream gave up while the consumer could not say why. */
  'crashed',
] as const;
export type DeadLetterReason = (typeof deadLetterReasons)[number];

export const deadLetterStates = ['open', 'replayed', 'discarded'] as const;
export type DeadLetterState = (typeof deadLetterStates)[number];

/** What the header of the error code may say: a code of the catalogue, the reason itself, or the SQLSTATE of a failure. */
export type DeadLetterCode = ErrorCode | DeadLetterReason | 'foreign_message' | `sqlstate_${string}`;

/** Headers of a message in the DLQ. */
export const deadLetterHeaders = {
  reason: 'Gpuaas-Dlq-Reason',
  errorCode: 'Gpuaas-Dlq-Error-Code',
  detail: 'Gpuaas-Dlq-Detail',
  consumer: 'Gpuaas-Dlq-Consumer',
  group: 'Gpuaas-Dlq-Group',
  subject: 'Gpuaas-Dlq-Subject',
  stream: 'Gpuaas-Dlq-Stream',
  streamSeq: 'Gpuaas-Dlq-Stream-Sequence',
  deliveries: 'Gpuaas-Dlq-Deliveries',
  firstAt: 'Gpuaas-Dlq-First-At',
  lastAt: 'Gpuaas-Dlq-Last-At',
  /** Only with a body that was cut, because with these headers it was too long to be stored: its length in bytes. */
  wholeBytes: 'Gpuaas-Dlq-Whole-Bytes',
} as const;

/** Header of a replayed message: which replay of this letter it is, from 1. */
export const replayHeader = 'Gpuaas-Replay';

/** A dead letter on its way back to its consumer. */
export interface ReplayedLetter {
  /** Of the one consumer group that gave it up. */
  readonly subject: string;
  /** JetStream drops a second message of the same id. */
  readonly messageId: string;
  /** Which replay of the letter it is, from 1. */
  readonly attempt: number;
  /** The bytes that the producer wrote. */
  readonly body: Uint8Array;
  readonly correlationId: string | null;
  /** The letter's newest place in the DLQ, and whose letter it is: its trace is read there. */
  readonly dlqSeq: number;
  readonly consumer: string;
}

/** Group of a message in the DLQ that none of our consumers sent there: nobody can get it again. */
export const strangersGroup = 'unknown';
