/** Which durable consumers JetStream must have, computed from the subscriptions and the contract. */
import type { DurableDeclaration } from '../../activities/platform/nats-consumers.ts';
import { dlqSubject } from '../../contracts/envelope.ts';
import { consumerName, streams } from '../../contracts/streams.ts';
import type { ConsumerGroup, Subscription } from './subscription.ts';

/** What one durable is for. */
export type Durable =
  | { readonly kind: 'subject'; readonly declared: DurableDeclaration; readonly subscription: Subscription }
  | {
      readonly kind: 'replays';
      readonly declared: DurableDeclaration;
      readonly group: ConsumerGroup;
      /** By subject. */
      readonly subscriptions: ReadonlyMap<string, Subscription>;
    }
  | { readonly kind: 'dead-letters' | 'advisories'; readonly declared: DurableDeclaration };

/**
 * Messages of one durable that may be unacknowledged over all replicas. One that waits for its next delivery counts, so
 * it is far more than all replicas work on at once: a few that fail must not hold up the others.
 */
const maxAckPending = 1000;
/** One short transaction; who dies with a letter in hand holds it up no longer. */
const deskAckWaitMs = 5000;
export const advisorySubject = '$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>';

/**
 * Stream that stores a subject.
 * @throws when none does: the contract declares one for every channel.
 */
export function streamOf(subject: string): string {
  const found = streams.find(({ subjects }) =>
    subjects.some((pattern: string) =>
      pattern.endsWith('.>') ? subject.startsWith(pattern.slice(0, -1)) : pattern === subject,
    ),
  );
  if (found === undefined) throw new Error(`no stream stores ${subject}`);
  return found.name;
}

/** The durables of these subscriptions, those of the DLQ desk included. @throws when two share a group and subject. */
export function planDurables(
  subscriptions: readonly Subscription[],
  findStream: (subject: string) => string = streamOf,
): Durable[] {
  const byGroup = new Map<ConsumerGroup, Map<string, Subscription>>();
  for (const subscription of subscriptions) {
    const { group, channel } = subscription;
    const ofGroup = byGroup.get(group) ?? new Map<string, Subscription>();
    if (ofGroup.has(channel.subject)) throw new Error(`${group} subscribes to ${channel.subject} twice`);
    byGroup.set(group, ofGroup.set(channel.subject, subscription));
  }
  return [
    ...subscriptions.map((subscription) => subjectDurable(subscription, findStream)),
    ...[...byGroup].map(([group, ofGroup]) => replaysDurable(group, ofGroup)),
    deskDurable('dead-letters', 'DLQ', dlqSubject('>'), 'Writes every dead letter down for operators.'),
    deskDurable(
      'advisories',
      'ADVISORIES',
      advisorySubject,
      'Saves what JetStream gave up on while its consumer could not say why.',
    ),
  ];
}

function subjectDurable(subscription: Subscription, findStream: (subject: string) => string): Durable {
  const { group, channel } = subscription;
  const declared: DurableDeclaration = {
    stream: findStream(channel.subject),
    name: consumerName(group, channel.subject),
    filterSubject: channel.subject,
    description: `${group} on ${channel.subject}.`,
    ackWaitMs: channel.nats.ackWaitSeconds * 1000,
    maxDeliver: channel.nats.maxDeliver,
    maxAckPending,
  };
  return { kind: 'subject', declared, subscription };
}

/** Replays of a group's dead letters: as patient as the most patient of its channels. */
function replaysDurable(group: ConsumerGroup, subscriptions: ReadonlyMap<string, Subscription>): Durable {
  const limits = [...subscriptions.values()].map(({ channel }) => channel.nats);
  const declared: DurableDeclaration = {
    stream: 'REPLAYS',
    name: consumerName(group, 'replays'),
    filterSubject: `replay.${group}.>`,
    description: `Replayed dead letters of ${group}.`,
    ackWaitMs: Math.max(...limits.map((one) => one.ackWaitSeconds)) * 1000,
    maxDeliver: Math.max(...limits.map((one) => one.maxDeliver)),
    maxAckPending,
  };
  return { kind: 'replays', declared, group, subscriptions };
}

function deskDurable(
  kind: 'dead-letters' | 'advisories',
  stream: string,
  filterSubject: string,
  description: string,
): Durable {
  const name = `dlq-desk--${kind}`;
  const declared = { stream, name, filterSubject, description, ackWaitMs: deskAckWaitMs, maxAckPending };
  // What the desk cannot write down has nowhere else to go: it is tried for ever.
  return { kind, declared: { ...declared, maxDeliver: -1 } };
}
