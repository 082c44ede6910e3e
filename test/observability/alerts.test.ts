/** Every alert rule fires on what it is for and is silent otherwise, as Prometheus itself judges it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DeadLetterReason } from '../../contracts/ops/dead-letter.ts';
import { outboxPartitionCount } from '../../db/outbox.ts';
import { ConsumerMetrics } from '../../workers/consumers/metrics.ts';
import { readRules, rulesFile, runPromtool, testRules, type RuleCase } from './promtool.ts';

const timeoutMs = 180_000;
const rules = readRules();

type Row = readonly [
  alert: string,
  series: Readonly<Record<string, string>>,
  atMinutes: number,
  firing: number,
];
const held = (count: number) => ({ 'gpuaas_outbox_partitions_held{instance="a"}': `${count}+0x30` });
const errors = (failed: number) => ({
  'http_request_duration_seconds_count{operation="x",status="200"}': '0+600x30',
  'http_request_duration_seconds_count{operation="x",status="500"}': `0+${failed}x30`,
});
const repeats = (count: number) => ({
  'gpuaas_consumer_deliveries_total{consumer="c",outcome="applied"}': '0+600x40',
  'gpuaas_consumer_redeliveries_total{consumer="c"}': `0+${count}x40`,
});
const repairs = (reconciler: string, perMinute: number) => ({
  [`gpuaas_reconciler_repairs_total{reconciler="${reconciler}"}`]: `0+${perMinute}x30`,
});
const up = (dependency: string, values: string, job = 'api') => ({
  [`gpuaas_dependency_up{dependency="${dependency}",instance="${job}-1",job="${job}"}`]: values,
});
/** Away for longer than a moment, away in one of two jobs, away again and again but never for long, never away. */
const awayRows = (alert: string, dependency: string, other: string): Row[] => [
  [alert, up(dependency, '1 0+0x9'), 3, 1],
  [alert, { ...up(dependency, '1+0x9'), ...up(dependency, '0+0x9', 'worker') }, 3, 1],
  [alert, { ...up(dependency, '0+0x9'), ...up(dependency, '0+0x9', 'worker') }, 3, 2],
  [alert, up(dependency, '0 1 0 1 0 1'), 5, 0],
  [alert, { ...up(dependency, '1+0x9'), ...up(other, '0+0x9') }, 5, 0],
];

const table: readonly Row[] = [
  ['OutboxRowsStuck', { gpuaas_outbox_stuck_rows: '1+0x30' }, 5, 1],
  ['OutboxRowsStuck', { gpuaas_outbox_stuck_rows: '1+0x30' }, 1, 0],
  ['OutboxRowsStuck', { gpuaas_outbox_stuck_rows: '0+0x30' }, 5, 0],
  ['OutboxLagging', { gpuaas_outbox_lag_seconds: '31+0x30' }, 10, 1],
  ['OutboxLagging', { gpuaas_outbox_lag_seconds: '31 31 31 2 31 31 31 31' }, 7, 0],
  ['OutboxLagging', { gpuaas_outbox_lag_seconds: '30+0x30' }, 10, 0],
  ['OutboxRelayDown', {}, 2, 1],
  ['OutboxRelayDown', held(0), 2, 0],
  ['OutboxPartitionsUnowned', held(outboxPartitionCount - 1), 5, 1],
  ['OutboxPartitionsUnowned', held(outboxPartitionCount), 5, 0],
  ['OutboxPartitionsUnowned', { ...held(5), 'gpuaas_outbox_partitions_held{instance="b"}': '3+0x30' }, 5, 0],
  ['OutboxPublishFailing', { gpuaas_outbox_publish_failures_total: '0+120x30' }, 15, 1],
  ['OutboxPublishFailing', { gpuaas_outbox_publish_failures_total: '0+30x30' }, 15, 0],
  ['ConsumersDown', {}, 2, 1],
  ['ConsumersDown', { 'gpuaas_consumer_connected{system="nats"}': '0+0x30' }, 2, 0],
  ['ConsumerLagging', { 'gpuaas_consumer_waiting_messages{consumer="c"}': '1001+0x30' }, 10, 1],
  ['ConsumerLagging', { 'gpuaas_consumer_waiting_messages{consumer="c"}': '1000+0x30' }, 10, 0],
  ['ConsumerSystemAway', { 'gpuaas_consumer_connected{system="engine"}': '0+0x30' }, 5, 1],
  ['ConsumerSystemAway', { 'gpuaas_consumer_connected{system="engine"}': '1+0x30' }, 5, 0],
  ['ConsumerSystemAway', { 'gpuaas_consumer_connected{system="engine"}': '0 1 0 1 0 1' }, 5, 0],
  [
    'DeadLettersArrived',
    { 'gpuaas_consumer_dead_letters_total{consumer="c",reason="r"}': '0 0 0 1+0x9' },
    5,
    1,
  ],
  ['DeadLettersArrived', { 'gpuaas_consumer_dead_letters_total{consumer="c",reason="r"}': '3+0x30' }, 15, 0],
  [
    'DeadLettersArrived',
    { 'gpuaas_consumer_dead_letters_total{consumer="c",reason="r"}': '0 1+0x30' },
    25,
    0,
  ],
  ['DeadLettersWaiting', { gpuaas_dead_letters_open: '2+0x90' }, 70, 1],
  ['DeadLettersWaiting', { gpuaas_dead_letters_open: '2+0x90' }, 50, 0],
  ['DeadLettersWaiting', { gpuaas_dead_letters_open: '0+0x90' }, 70, 0],
  ['EventsRedelivered', repeats(100), 30, 1],
  ['EventsRedelivered', repeats(30), 30, 0],
  ['StreamsRecreated', { gpuaas_consumer_recreations_total: '0 0 1+0x9' }, 5, 1],
  ['StreamsRecreated', { gpuaas_consumer_recreations_total: '43+0x30' }, 15, 0],
  ['ReleaseFailed', { 'gpuaas_allocations{state="release_failed"}': '1+0x9' }, 1, 1],
  ['ReleaseFailed', { 'gpuaas_allocations{state="release_failed"}': '0+0x9' }, 5, 0],
  ['ReleaseFailed', { 'gpuaas_allocations{state="releasing"}': '4+0x9' }, 5, 0],
  ['RunsMissing', repairs('missing-runs', 1), 10, 1],
  ['RunsMissing', repairs('missing-runs', 0), 10, 0],
  ['RunsMissing', repairs('task-completion', 5), 10, 0],
  ['ReplaysMissing', repairs('missing-replays', 1), 10, 1],
  ['ReplaysMissing', repairs('missing-replays', 0), 10, 0],
  ['ReplaysMissing', repairs('missing-runs', 5), 10, 0],
  ['CommandsUndelivered', repairs('undelivered-commands', 2), 15, 1],
  ['CommandsUndelivered', { [Object.keys(repairs('undelivered-commands', 0))[0] ?? '']: '0 3+0x30' }, 10, 0],
  ['WorkerDown', {}, 2, 1],
  ['WorkerDown', { 'gpuaas_allocations{state="active"}': '0+0x30' }, 2, 0],
  ...awayRows('TemporalAway', 'temporal', 'postgres'),
  ...awayRows('PostgresAway', 'postgres', 'nats'),
  ...awayRows('NatsAway', 'nats', 'redis'),
  ...awayRows('RedisAway', 'redis', 'temporal'),
  ['ApiErrors', errors(30), 15, 1],
  ['ApiErrors', errors(6), 15, 0],
  ['ApiErrors', { 'http_request_duration_seconds_count{operation="x",status="404"}': '0+600x30' }, 15, 0],
  ['ApiDown', {}, 2, 1],
  ['ApiDown', { 'http_request_duration_seconds_count{operation="x",status="200"}': '0+0x9' }, 2, 0],
  ['RateLimitFailsOpen', { gpuaas_rate_limiter_fallbacks_total: '0+5x30' }, 10, 1],
  ['RateLimitFailsOpen', { gpuaas_rate_limiter_fallbacks_total: '9+0x30' }, 10, 0],
  [
    'DatabasePoolExhausted',
    { 'gpuaas_database_pool_connections{instance="a",state="waiting"}': '3+0x30' },
    5,
    1,
  ],
  [
    'DatabasePoolExhausted',
    { 'gpuaas_database_pool_connections{instance="a",state="idle"}': '3+0x30' },
    5,
    0,
  ],
];

/** What Prometheus sees of the letters of a process that starts in minute 3 and buries its first one in minute 6. */
async function lettersOfProcess(consumer: string, reason: DeadLetterReason): Promise<Record<string, string>> {
  const metrics = new ConsumerMetrics();
  metrics.expect([consumer]);
  const before = await sampled(metrics, 'gpuaas_consumer_dead_letters_total');
  metrics.buried(consumer, reason);
  const after = await sampled(metrics, 'gpuaas_consumer_dead_letters_total');
  return Object.fromEntries(
    [...after].map(([series, value]) => {
      const first = before.get(series);
      return [series, `_x3 ${first === undefined ? '_x3' : `${first}x2`} ${value}x20`];
    }),
  );
}

async function sampled(metrics: ConsumerMetrics, name: string): Promise<Map<string, string>> {
  const text = await metrics.registry.getSingleMetricAsString(name);
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]),
  );
}

const cases: readonly RuleCase[] = table.map(([alert, series, atMinutes, firing]) => ({
  alert,
  series,
  atMinutes,
  firing,
}));

describe('the alert rules', () => {
  it(
    'are well-formed',
    async () => {
      expect(await runPromtool(['check', 'rules', '--lint=all', '--lint-fatal', rulesFile])).toMatchObject({
        code: 0,
      });
    },
    timeoutMs,
  );

  it('have cases in which they fire and in which they do not', () => {
    const names = rules.map(({ alert }) => alert).sort();
    const having = (wanted: (of: RuleCase) => boolean) =>
      [...new Set(cases.filter(wanted).map(({ alert }) => alert))].sort();
    expect(new Set(names).size).toBe(names.length);
    expect(having(({ firing }) => firing > 0)).toEqual(names);
    expect(having(({ firing }) => firing === 0)).toEqual(names);
  });

  it(
    'fire on what they are for and are silent otherwise',
    async () => {
      expect(await testRules(rulesFile, cases)).toMatchObject({ code: 0 });
    },
    timeoutMs,
  );

  it(
    'tell of the first letter of its kind that a process buries, and of no other',
    async () => {
      const series = await lettersOfProcess('billing--gpuaas-provisioning-active', 'rejected');
      const told = { alert: 'DeadLettersArrived', series, firing: 1 };
      const cases = [5, 25].map((atMinutes) => ({ ...told, atMinutes, firing: 0 }));
      expect(await testRules(rulesFile, [...cases, { ...told, atMinutes: 7 }])).toMatchObject({ code: 0 });
    },
    timeoutMs,
  );

  it.each<[string, RegExp, string]>([
    ['a threshold that is never reached', /gpuaas_outbox_stuck_rows\) > 0/, 'gpuaas_outbox_stuck_rows) > 9'],
    [
      'a threshold that is always reached',
      /gpuaas_outbox_stuck_rows\) > 0/,
      'gpuaas_outbox_stuck_rows) >= 0',
    ],
    ['another metric', /max\(gpuaas_dead_letters_open\)/, 'max(gpuaas_dead_letters)'],
  ])(
    'are not passed with %s',
    async (_, from, to) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rules-'));
      try {
        const text = readFileSync(rulesFile, 'utf8');
        const changed = path.join(folder, 'rules.yaml');
        expect(text).toMatch(from);
        writeFileSync(changed, text.replace(from, to));
        expect(await testRules(changed, cases)).toMatchObject({ code: 1 });
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    timeoutMs,
  );
});
