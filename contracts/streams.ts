/**
 * The JetStream streams, as plain data. A domain's stream is declared here when the domain's channels are.
 */
export type StreamEnvironment = 'development' | 'test' | 'production';

/** Limits of one stream; whichever is reached first discards the oldest messages. */
export interface StreamLimits {
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly replicas: 1 | 3;
}

export interface StreamDeclaration {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly description: string;
  readonly limits: Readonly<Record<'single' | 'production', StreamLimits>>;
}

const dayMs = 86_400_000;
const mebibyte = 1_048_576;

/** How long JetStream remembers a message id by default: a repeat within it is dropped. */
export const defaultDuplicateWindowMs = 120_000;

export const streams = [
  {
    name: 'PROVISIONING',
    subjects: ['gpuaas.provisioning.>'],
    description: 'Lifecycle of allocations.',
    limits: {
      single: { maxAgeMs: 7 * dayMs, maxBytes: 256 * mebibyte, replicas: 1 },
      production: { maxAgeMs: 30 * dayMs, maxBytes: 20_480 * mebibyte, replicas: 3 },
    },
  },
  {
    name: 'DLQ',
    subjects: ['dlq.>'],
    description: 'Messages that a consumer gave up on; kept until an operator decides.',
    limits: {
      single: { maxAgeMs: 30 * dayMs, maxBytes: 128 * mebibyte, replicas: 1 },
      production: { maxAgeMs: 90 * dayMs, maxBytes: 10_240 * mebibyte, replicas: 3 },
    },
  },
] as const satisfies readonly StreamDeclaration[];

/** Limits in an environment; all but production have a single server. */
export const streamLimits = (stream: StreamDeclaration, environment: StreamEnvironment): StreamLimits =>
  stream.limits[environment === 'production' ? 'production' : 'single'];

const groupPattern = /^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$/;
const subjectPattern = /^[a-z0-9_]+(\.[a-z0-9_]+)*$/;

/**
 * Durable name of the consumer that a group has on one subject: `<group>--<subject with - for .>`; no two pairs share
 * one.
 * @throws when group or subject hold anything else than lower-case words.
 */
export function consumerName(group: string, subject: string): string {
  if (!groupPattern.test(group))
    throw new Error(`consumer group '${group}' is not lower-case words joined by -`);
  if (!subjectPattern.test(subject))
    throw new Error(`subject '${subject}' is not lower-case words joined by .`);
  return `${group}--${subject.replaceAll('.', '-')}`;
}
