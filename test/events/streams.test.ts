import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsConnection } from 'nats';
import { reconcileConsumers } from '../../activities/platform/nats-consumers.ts';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { allocationChannels } from '../../contracts/allocations/allocation.events.ts';
import { dlqSubject } from '../../contracts/envelope.ts';
import { consumerName, streams, type StreamDeclaration } from '../../contracts/streams.ts';
import { startStack, type Stack } from '../../workers/local/stack.ts';

let stack: Stack;
let nc: NatsConnection;

const declare = (maxAgeMs: number, subjects: readonly string[]): StreamDeclaration[] => {
  const limits = { maxAgeMs, maxBytes: 1_048_576, replicas: 1 } as const;
  return [
    { name: 'TRIAL', subjects, description: 'For a test.', limits: { single: limits, production: limits } },
  ];
};
const reconcile = async (declared: readonly StreamDeclaration[], duplicateWindowMs = 1000) =>
  (await reconcileStreams(nc, { environment: 'test', duplicateWindowMs, declared }))[0];

beforeAll(async () => {
  stack = await startStack({ name: 'events-streams', ports: 'free', ephemeral: true, parts: ['nats'] });
  nc = await connectNats({ url: stack.env['NATS_URL'] ?? '', name: 'streams-test' });
}, 120_000);
afterAll(async () => {
  await nc.close();
  await stack.stop();
});

describe('streams', () => {
  it('are created as declared, once, also by several processes at the same time', async () => {
    const options = { environment: 'test' } as const;
    await Promise.all([reconcileStreams(nc, options), reconcileStreams(nc, options)]);
    const reports = await reconcileStreams(nc, options);
    expect(reports).toEqual(
      streams.map(({ name }) => ({ stream: name, action: 'unchanged', differences: [] })),
    );
    const { config } = await (await nc.jetstreamManager()).streams.info('PROVISIONING');
    expect(config).toMatchObject({
      duplicate_window: 120_000_000_000,
      max_age: 604_800_000_000_000,
      storage: 'file',
    });
  });

  it('take every subject of the allocation channels and of their dead letters', async () => {
    const jsm = await nc.jetstreamManager();
    for (const { subject } of allocationChannels) {
      expect(await jsm.streams.find(subject)).toBe('PROVISIONING');
      expect(await jsm.streams.find(dlqSubject(subject))).toBe('DLQ');
    }
  });

  it('are brought up to a new declaration without losing a message', async () => {
    expect(await reconcile(declare(3_600_000, ['trial.a']))).toMatchObject({ action: 'created' });
    await nc.jetstream().publish('trial.a', 'kept');
    expect(await reconcile(declare(7_200_000, ['trial.>']))).toEqual({
      stream: 'TRIAL',
      action: 'updated',
      differences: [
        { field: 'subjects', declared: '["trial.>"]', actual: '["trial.a"]', applied: true },
        { field: 'max_age', declared: '7200000000000', actual: '3600000000000', applied: true },
      ],
    });
    await nc.jetstream().publish('trial.b', 'new');
    // A shorter age would delete: it is told, and not done.
    expect(await reconcile(declare(1000, ['trial.>']))).toEqual({
      stream: 'TRIAL',
      action: 'unchanged',
      differences: [{ field: 'max_age', declared: '1000000000', actual: '7200000000000', applied: false }],
    });
    const { state } = await (await nc.jetstreamManager()).streams.info('TRIAL');
    expect(state.messages).toBe(2);
  });

  it('are freed of settings that lose events, and those that cannot be changed back are told', async () => {
    const jsm = await nc.jetstreamManager();
    const declared = declare(3_600_000, ['set.>']).map((one) => ({ ...one, name: 'SET' }));
    await reconcile(declared);
    const subject_transform = { src: 'set.>', dest: 'elsewhere.>' };
    const changed = {
      max_msgs: 5,
      max_msgs_per_subject: 1,
      max_msg_size: 100,
      no_ack: true,
      subject_transform,
    };
    await jsm.streams.update('SET', { allow_rollup_hdrs: true });
    const rolled = { field: 'allow_rollup_hdrs', declared: 'false', actual: 'true', applied: true };
    expect((await reconcile(declared))?.differences).toEqual([rolled]);
    const risky = { consumer_limits: { inactive_threshold: 60_000_000_000 } };
    await jsm.streams.update('SET', { ...changed, ...risky, deny_delete: true, deny_purge: true });
    const applied = (await reconcile(declared))?.differences;
    expect(applied?.map((one) => `${one.field} ${one.declared} ${one.applied}`)).toEqual([
      'max_msgs -1 true',
      'max_msgs_per_subject -1 true',
      'max_msg_size -1 true',
      'no_ack false true',
      'deny_delete false false',
      'deny_purge false false',
      'subject_transform none true',
      'consumer_limits {} true',
    ]);
    const fields = async () => (await reconcile(declared))?.differences.map(({ field }) => field);
    expect(await fields()).toEqual(['deny_delete', 'deny_purge']);
    await jsm.streams.update('SET', { sealed: true } as object);
    expect(await fields()).toContain('sealed');
    expect((await reconcile(declared))?.action).toBe('unchanged');
    await jsm.streams.delete('SET');
  });

  it('have consumers that are freed of settings that keep events from them', async () => {
    const jsm = await nc.jetstreamManager();
    await reconcile(declare(3_600_000, ['held.>']).map((one) => ({ ...one, name: 'HELD' })));
    const declared = {
      stream: 'HELD',
      name: 'reader',
      filterSubject: 'held.a',
      description: 'For a test.',
      ackWaitMs: 30_000,
      maxDeliver: 10,
      maxAckPending: 100,
    };
    const run = async (apply = true) => (await reconcileConsumers(nc, { declared: [declared], apply }))[0];
    const fields = async () => (await run())?.differences.map((one) => `${one.field} ${one.applied}`);
    expect(await run()).toMatchObject({ action: 'created' });
    expect(await run()).toMatchObject({ action: 'unchanged', differences: [] });
    const backoff = [1_000_000_000, 2_000_000_000];
    const bounds = { max_batch: 1, max_expires: 1_000_000_000, max_bytes: 100 };
    await jsm.consumers.update('HELD', 'reader', {
      ...{ headers_only: true, inactive_threshold: 60_000_000_000, backoff, ...bounds },
      ...{ filter_subject: '', filter_subjects: ['held.b', 'held.c'] },
    });
    const expected = [
      ...['filter_subject true', 'ack_wait true', 'backoff true', 'headers_only true'],
      ...[
        'inactive_threshold true',
        'filter_subjects true',
        'max_batch true',
        'max_expires true',
        'max_bytes true',
      ],
    ];
    expect(await run(false)).toMatchObject({ action: 'different' });
    expect(await fields()).toEqual(expected);
    expect(await fields()).toEqual([]);
    await jsm.consumers.pause('HELD', 'reader', new Date(Date.now() + 3_600_000));
    expect(await fields()).toEqual(['pause_until false']);
    await jsm.consumers.resume('HELD', 'reader');
    expect(await fields()).toEqual([]);
    await jsm.streams.delete('HELD');
  });

  it('have consumers whose names cannot meet', () => {
    expect(consumerName('notify', 'gpuaas.provisioning.release_failed')).toBe(
      'notify--gpuaas-provisioning-release_failed',
    );
    const names = [
      consumerName('a', 'b.c'),
      consumerName('a', 'b_c'),
      consumerName('a-b', 'c'),
      consumerName('a_b', 'c'),
    ];
    expect(new Set(names).size).toBe(4);
    for (const [group, subject] of [
      ['', 'a'],
      ['A', 'a'],
      ['a--b', 'c'],
      ['a', 'b.>'],
      ['a', 'b*'],
      ['a', 'b..c'],
    ] as const) {
      expect(() => consumerName(group, subject)).toThrow(/is not lower-case words/);
    }
  });
});
