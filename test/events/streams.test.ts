import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsConnection } from 'nats';
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
