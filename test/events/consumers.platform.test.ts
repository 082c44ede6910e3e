import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channels } from '../../contracts/channels.ts';
import { consumerName, streams } from '../../contracts/streams.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { pauseAfter } from '../../workers/consumers/backoff.ts';
import { allSubscriptions } from '../../workers/consumers/compose.ts';
import { planDurables, type Durable } from '../../workers/consumers/plan.ts';
import { reconcileTopology } from '../../workers/consumers/recovery.ts';
import { ageOutAll } from '../../workers/consumers/retention.ts';
import { effect, type Subscription } from '../../workers/consumers/subscription.ts';
import { queryAs } from '../harness/database.ts';
import { openWorld, type World } from './fixture.ts';

let world: World;
let subscriptions: Subscription[];
let durables: Durable[];
const declared = { environment: 'test' as const, duplicateWindowMs: 120_000 };

beforeAll(async () => {
  world = await openWorld('events-platform', 120_000);
  subscriptions = allSubscriptions({
    db: world.db,
    temporal: new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) }),
    notifications: {
      notifier: createNotifier(() => Promise.resolve()),
      policies: createPolicyReader(world.db.q),
      publicUrl: undefined,
    },
  });
  durables = planDurables(subscriptions);
}, 120_000);
afterAll(() => world.close());

describe('the subscriptions', () => {
  it('are, beside the log of everything, exactly these', () => {
    const others = subscriptions
      .filter(({ group }) => group !== 'event-log')
      .map(({ group, channel, kind }) => `${group} ${channel.subject} ${kind}`);
    expect(others.sort()).toEqual([
      'billing gpuaas.provisioning.active record',
      'billing gpuaas.provisioning.release_failed record',
      'billing gpuaas.provisioning.releasing.completed record',
      'notification-relay gpuaas.provisioning.active effect',
      'notification-relay gpuaas.provisioning.failed effect',
      'notification-relay gpuaas.provisioning.release_failed effect',
      'notification-relay gpuaas.provisioning.releasing.completed effect',
      'notification-relay platform.billing.auto_release_pending effect',
      'notification-relay platform.billing.balance_depleted effect',
      'notification-relay platform.billing.budget_threshold_crossed effect',
      'notification-relay platform.billing.low_balance_warning effect',
      'notification-relay platform.payments.balance_credited effect',
      'notification-relay platform.payments.reconcile_failed effect',
      'provisioning gpuaas.provisioning.force_release_requested command',
      'provisioning gpuaas.provisioning.releasing.requested command',
      'provisioning gpuaas.provisioning.requested command',
    ]);
  });

  it('leave no channel without a consumer, and no pair of group and subject twice', () => {
    const logged = subscriptions
      .filter(({ group }) => group === 'event-log')
      .map(({ channel }) => channel.subject);
    expect(logged.sort()).toEqual(channels.map(({ subject }) => subject as string).sort());
    const names = durables.map((one) => `${one.declared.stream} ${one.declared.name}`);
    expect(new Set(names).size).toBe(names.length);
    const twice = channels[0];
    const one = effect('billing', twice, () => Promise.resolve(undefined));
    expect(() => planDurables([one, one])).toThrow(`billing subscribes to ${twice.subject} twice`);
  });

  it('become durables exactly as their channels declare, without a back-off of the server', async () => {
    await reconcileTopology({ nc: world.nc, durables, streams: declared });
    const jsm = await world.nc.jetstreamManager();
    for (const { group, channel } of subscriptions) {
      const name = consumerName(group, channel.subject);
      const stream = durables.find((one) => one.declared.name === name)?.declared.stream ?? '';
      const { config } = await jsm.consumers.info(stream, name);
      expect(config, name).toMatchObject({
        durable_name: name,
        filter_subject: channel.subject,
        ack_policy: 'explicit',
        deliver_policy: 'all',
        ack_wait: channel.nats.ackWaitSeconds * 1e9,
        max_deliver: channel.nats.maxDeliver,
      });
      expect(config.backoff, name).toBeUndefined();
    }
  });
});

describe('pauses between deliveries', () => {
  it.each([
    [1, 0, 250],
    [1, 1, 500],
    [2, 1, 1000],
    [3, 0.5, 1500],
    [7, 1, 32_000],
    [8, 1, 60_000],
    [20, 1, 60_000],
    [20, 0, 30_000],
  ])('after delivery %i with chance %d: %i ms', (delivery, chance, expected) => {
    expect(pauseAfter(delivery, { baseMs: 500, maxMs: 60_000 }, chance)).toBe(expected);
  });
});

describe('reconciling', () => {
  const run = (...flags: string[]) => {
    const made = spawnSync(
      process.execPath,
      ['--import', 'tsx', 'workers/consumers/reconcile.ts', ...flags],
      {
        env: { ...process.env, ...world.stack.env, GPUAAS_ENV: 'test', OUTBOX_DUPLICATE_WINDOW_MS: '120000' },
        encoding: 'utf8',
      },
    );
    return { code: made.status, text: made.stdout, errors: made.stderr };
  };

  it('reports what differs and changes nothing with --check; without it applies what loses nothing', async () => {
    await reconcileTopology({ nc: world.nc, durables, streams: declared });
    const equal = run('--check');
    expect([equal.code, equal.errors]).toEqual([0, '']);
    expect(equal.text.split('\n').filter((line) => /^(stream|consumer) /.test(line))).toHaveLength(
      streams.length + durables.length,
    );

    const jsm = await world.nc.jetstreamManager();
    const billing = 'billing--gpuaas-provisioning-active';
    await jsm.consumers.update('PROVISIONING', billing, { max_deliver: 3, ack_wait: 1e9 });
    await jsm.consumers.delete('BILLING', 'event-log--platform-billing-usage-metered');
    await jsm.consumers.add('PROVISIONING', { durable_name: 'someone', ack_policy: 'explicit' as never });
    await jsm.streams.update('STORAGE', { max_age: 1e12 });
    await jsm.streams.update('APPS', { max_bytes: -1 });
    const before = await jsm.consumers.info('PROVISIONING', billing);
    const found = run('--check');
    expect(found.code).toBe(1);
    const lines = found.text.split('\n').filter((line) => !line.endsWith(' unchanged'));
    expect(lines.map((line) => line.trim().replaceAll(/ {2,}/g, ' '))).toEqual([
      'stream STORAGE different',
      'max_age: declared 604800000000000, found 1000000000000',
      'stream APPS different',
      'max_bytes: declared 268435456, found -1',
      `consumer PROVISIONING/${billing} different`,
      'ack_wait: declared 30000000000, found 1000000000',
      'max_deliver: declared 10, found 3',
      'consumer BILLING/event-log--platform-billing-usage-metered missing',
      'consumer PROVISIONING/someone undeclared',
      '5 differ from the contract',
      '',
    ]);
    expect((await jsm.consumers.info('PROVISIONING', billing)).config).toEqual(before.config);

    const applied = await reconcileTopology({ nc: world.nc, durables, streams: declared });
    const all = [...applied.streams, ...applied.consumers];
    expect(all.filter(({ action }) => action !== 'unchanged').map(({ action }) => action)).toEqual([
      'updated',
      'updated',
      'created',
      'undeclared',
    ]);
    const apps = applied.streams.find(({ stream }) => stream === 'APPS');
    expect(apps?.differences).toEqual([
      { field: 'max_bytes', declared: '268435456', actual: '-1', applied: false },
    ]);
    expect((await jsm.consumers.info('PROVISIONING', billing)).config).toMatchObject({
      max_deliver: 10,
      ack_wait: 30e9,
    });
    await jsm.consumers.delete('PROVISIONING', 'someone');
    await jsm.streams.update('APPS', { max_bytes: 268_435_456 });
    const compared = await reconcileTopology({ nc: world.nc, durables, streams: declared }, false);
    const left = [...compared.streams, ...compared.consumers].filter(({ action }) => action !== 'unchanged');
    expect(left).toEqual([]);
  });

  it('says when JetStream cannot be reached', () => {
    const made = spawnSync(
      process.execPath,
      ['--import', 'tsx', 'workers/consumers/reconcile.ts', '--check'],
      { env: { ...process.env, GPUAAS_ENV: 'test', NATS_URL: 'nats://127.0.0.1:1' }, encoding: 'utf8' },
    );
    expect(made.status).toBe(2);
    expect(made.stderr).toContain('JetStream cannot be reached');
  });
});

describe('what is past its days by policy', () => {
  const ageOut = (failed: (kind: string) => void = (kind) => expect.fail(`${kind} failed`)) =>
    ageOutAll(world.db, createPolicyReader(world.db.q), () => false, failed);

  async function plant(days: number, count: number): Promise<void> {
    const owner = world.env('DATABASE_OWNER_URL');
    await queryAs(
      owner,
      `insert into consumed_events select 'trial', gen_random_uuid(), now() - interval '${days} days' from generate_series(1, ${count})`,
    );
    await queryAs(
      owner,
      `insert into event_log (event_id, subject, version, correlation_id, occurred_at, payload, stream, stream_seq, received_at)
       select gen_random_uuid(), 'trial', '1.0', 'x', now(), '{}', 'T', 1, now() - interval '${days} days'
       from generate_series(1, ${count})`,
    );
    await queryAs(
      owner,
      `insert into notifications (id, audience, recipient, seq, event_id, subject, severity, type, title, message, occurred_at, created_at)
       select gen_random_uuid(), 'user', '${randomUUID()}', n, gen_random_uuid(), 'trial', 'info', 'info', 't', 'm', now(),
         now() - interval '${days} days' from generate_series(1, ${count}) n`,
    );
  }

  it('is deleted in batches, and nothing else', async () => {
    for (const days of [1, 99, 121, 366]) await plant(days, 600);
    // Beyond 120, 365 and 90 days: two, one and three of four.
    expect(await ageOut()).toBe(600 * (2 + 1 + 3));
    expect(await ageOut()).toBe(0);
    const left = await world.db.q.execute<{ memory: string; log: string; told: string }>(sql`
      select (select count(*) from consumed_events where consumer = 'trial') as memory,
             (select count(*) from event_log where subject = 'trial') as log,
             (select count(*) from notifications where subject = 'trial') as told`);
    expect(left.rows[0]).toEqual({ memory: '1200', log: '1800', told: '600' });
  });

  it.each(['consumed_events', 'event_log', 'notifications', 'dead_letters'])(
    'goes although %s cannot be deleted from',
    async (table) => {
      const owner = world.env('DATABASE_OWNER_URL');
      const kinds = {
        consumed_events: 'memory',
        event_log: 'log',
        notifications: 'notifications',
        dead_letters: 'letters',
      };
      await plant(366, 2);
      await queryAs(owner, `revoke delete on ${table} from gpuaas_app`);
      const failed: string[] = [];
      try {
        // Of the letters there is none to delete.
        expect(await ageOut((kind) => failed.push(kind))).toBe(table === 'dead_letters' ? 6 : 4);
      } finally {
        await queryAs(owner, `grant delete on ${table} to gpuaas_app`);
      }
      expect(failed).toEqual([kinds[table as keyof typeof kinds]]);
      expect(await ageOut()).toBe(table === 'dead_letters' ? 0 : 2);
    },
  );
});
