/** The JetStream streams, as plain data. Every subject of a channel is in exactly one of them. */
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

/** A domain's events: a week on a single server, 30 days in production. */
const domainLimits = (productionMebibytes: number) =>
  ({
    single: { maxAgeMs: 7 * dayMs, maxBytes: 256 * mebibyte, replicas: 1 },
    production: { maxAgeMs: 30 * dayMs, maxBytes: productionMebibytes * mebibyte, replicas: 3 },
  }) as const;

export const streams = [
  {
    name: 'PROVISIONING',
    subjects: ['gpuaas.provisioning.>'],
    description: 'Lifecycle of allocations.',
    limits: domainLimits(20480),
  },
  {
    name: 'BILLING',
    subjects: ['platform.billing.>'],
    description: 'Metered usage, balances and budgets.',
    limits: domainLimits(20480),
  },
  {
    name: 'PAYMENTS',
    subjects: ['platform.payments.>'],
    description: 'Credits and failed reconciliations.',
    limits: domainLimits(10240),
  },
  {
    name: 'STORAGE',
    subjects: ['storage.>'],
    description: 'Lifecycle of storage attachments.',
    limits: domainLimits(10240),
  },
  {
    name: 'APPS',
    subjects: ['appplatform.>'],
    description: 'Lifecycle of app instances, shared runtimes and artifacts; entitlements.',
    limits: domainLimits(10240),
  },
  {
    name: 'ARTIFACTS',
    subjects: ['platform.artifact.>'],
    description: 'Trust in artifacts.',
    limits: domainLimits(5120),
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
  {
    name: 'ADVISORIES',
    subjects: ['$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>'],
    description:
      'What the server says when a message was delivered for the last time; read by the dead-letter keeper.',
    limits: {
      single: { maxAgeMs: 7 * dayMs, maxBytes: 32 * mebibyte, replicas: 1 },
      production: { maxAgeMs: 30 * dayMs, maxBytes: 1024 * mebibyte, replicas: 3 },
    },
  },
  {
    name: 'REPLAYS',
    subjects: ['replay.>'],
    description: 'Dead letters that an operator sent again, each to the one consumer group that had failed.',
    limits: {
      single: { maxAgeMs: 7 * dayMs, maxBytes: 64 * mebibyte, replicas: 1 },
      production: { maxAgeMs: 30 * dayMs, maxBytes: 5120 * mebibyte, replicas: 3 },
    },
  },
] as const satisfies readonly StreamDeclaration[];

/** Limits in an environment; all but production have a single server. */
export const streamLimits = (stream: StreamDeclaration, environment: StreamEnvironment): StreamLimits =>
  stream.limits[environment === 'production' ? 'production' : 'single'];

const groupPattern = /^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$/;
const subjectPattern = /^[a-z0-9_]+(\.[a-z0-9_]+)*$/;

function checkWords(group: string, subject: string): void {
  if (!groupPattern.test(group))
    throw new Error(`consumer group '${group}' is not lower-case words joined by -`);
  if (!subjectPattern.test(subject))
    throw new Error(`subject '${subject}' is not lower-case words joined by .`);
}

/**
 * Durable name of the consumer that a group has on one subject: `<group>--<subject with - for .>`; no two pairs share
 * one.
 * @throws when group or subject hold anything else than lower-case words.
 */
export function consumerName(group: string, subject: string): string {
  checkWords(group, subject);
  return `${group}--${subject.replaceAll('.', '-')}`;
}

/**
 * Subject on which one consumer group gets a dead letter again: `replay.<group>.<subject>`. Other groups of the subject
 * do not hear it.
 * @throws when group or subject hold anything else than lower-case words.
 */
export function replaySubject(group: string, subject: string): string {
  checkWords(group, subject);
  return `replay.${group}.${subject}`;
}
