import { describe, expect, it } from 'vitest';
import { subjects } from '../../contracts/channels.ts';
import { dlqSubject } from '../../contracts/envelope.ts';
import { replaySubject, streamLimits, streams } from '../../contracts/streams.ts';

/** A subject against a pattern that may end with `>`. */
const matches = (pattern: string, subject: string): boolean =>
  pattern.endsWith('.>')
    ? subject.startsWith(pattern.slice(0, -1)) && subject.length >= pattern.length
    : pattern === subject;
const streamsOf = (subject: string): readonly string[] =>
  streams
    .filter((stream) => stream.subjects.some((pattern) => matches(pattern, subject)))
    .map(({ name }) => name);

describe('streams', () => {
  it('take every subject of a channel exactly once', () => {
    expect(subjects.length).toBe(43);
    const found = subjects.map((subject) => [subject, streamsOf(subject).length]);
    expect(found.filter(([, count]) => count !== 1)).toEqual([]);
  });

  it('have a channel each, but for those of the machinery', () => {
    const used = new Set(subjects.flatMap((subject) => streamsOf(subject)));
    expect(streams.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([
      'DLQ',
      'ADVISORIES',
      'REPLAYS',
    ]);
  });

  it.each([
    ['gpuaas.provisioning.active', 'PROVISIONING'],
    ['platform.billing.usage.metered', 'BILLING'],
    ['platform.payments.balance_credited', 'PAYMENTS'],
    ['storage.attachment.mounted', 'STORAGE'],
    ['appplatform.artifact.promoted', 'APPS'],
    ['platform.artifact.verified', 'ARTIFACTS'],
    [dlqSubject('storage.attachment.mounted'), 'DLQ'],
    [replaySubject('notification-relay', 'storage.attachment.mounted'), 'REPLAYS'],
    ['$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.BILLING.notify--x', 'ADVISORIES'],
  ])('take %s in %s', (subject, name) => {
    expect(streamsOf(subject)).toEqual([name]);
  });

  it('take the dead letter and the replay of every subject, apart from the original', () => {
    for (const subject of subjects) {
      expect(streamsOf(dlqSubject(subject))).toEqual(['DLQ']);
      expect(streamsOf(replaySubject('billing', subject))).toEqual(['REPLAYS']);
    }
  });

  it('keep three copies in production and more than on a single server', () => {
    for (const stream of streams) {
      const [single, production] = [streamLimits(stream, 'development'), streamLimits(stream, 'production')];
      expect([single.replicas, production.replicas], stream.name).toEqual([1, 3]);
      expect(production.maxAgeMs, stream.name).toBeGreaterThan(single.maxAgeMs);
      expect(production.maxBytes, stream.name).toBeGreaterThan(single.maxBytes);
    }
  });
});

describe('a replay', () => {
  it('goes to one group', () => {
    expect(replaySubject('notification-relay', 'platform.billing.usage.metered')).toBe(
      'replay.notification-relay.platform.billing.usage.metered',
    );
  });

  it.each([
    ['', 'a.b'],
    ['A', 'a.b'],
    ['a.b', 'c'],
    ['a', 'b.>'],
    ['a', '*'],
  ])('of group %j and subject %j is refused', (group, subject) => {
    expect(() => replaySubject(group, subject)).toThrow(/is not lower-case words/);
  });
});
