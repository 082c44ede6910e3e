/** The dynamic configuration of temporal-dev.yaml: which keys it has, that the server gets each, and knows each. */
import { readFileSync, readlinkSync } from 'node:fs';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { taskQueues } from '../../contracts/queues.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';
import { startStack, type Stack } from '../../workers/local/stack.ts';

const startDeadlineMs = 120_000;
const { temporal } = loadStackConfig();

/** Every one was measured; one that is taken out of the file, or changed, is taken out here with its reason. */
const wanted = {
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
  'history.transferProcessorMaxPollRPS': 2000,
  'history.timerProcessorMaxPollRPS': 2000,
  'history.visibilityProcessorMaxPollRPS': 2000,
  'matching.rps': 20_000,
  'frontend.rps': 20_000,
  'frontend.namespaceRPS': 20_000,
  'history.rps': 20_000,
  'frontend.namespaceRPS.visibility': 200,
  'history.timerProcessorMaxTimeShift': '20ms',
} as const;
const wantedInTests = { 'system.forceSearchAttributesCacheRefreshOnRead': true } as const;

let tested: Stack;
let plain: Stack;
beforeAll(async () => {
  const start = (testSettings: boolean): Promise<Stack> =>
    startStack({ name: 'dynamic-config', ports: 'free', ephemeral: true, parts: ['temporal'], testSettings });
  [tested, plain] = await Promise.all([start(true), start(false)]);
}, startDeadlineMs);
afterAll(() => Promise.all([tested?.stop(), plain?.stop()]), startDeadlineMs);

const pidOf = (stack: Stack): number => stack.parts.temporal.pid() ?? 0;

/** The values of a flag on the command line of the server that runs. */
function given(stack: Stack, flag: string): string[] {
  const words = readFileSync(`/proc/${pidOf(stack)}/cmdline`, 'utf8').split('\0');
  return words.filter((_, index) => words[index - 1] === flag).sort();
}
const pairs = (values: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(values)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort();

describe('temporal-dev.yaml', () => {
  it('has every setting that matters, with its value', () => {
    expect(temporal.dynamic_config).toEqual(wanted);
    expect(temporal.test_dynamic_config).toEqual(wantedInTests);
  });
});

describe('the server', () => {
  it('is started with every key; those for tests only in tests', () => {
    const flag = '--dynamic-config-value';
    expect(given(plain, flag)).toEqual(pairs(temporal.dynamic_config));
    expect(given(tested, flag)).toEqual(
      pairs({ ...temporal.dynamic_config, ...temporal.test_dynamic_config }),
    );
  });

  it('is started with every pragma and search attribute', () => {
    const plainPairs = (values: Readonly<Record<string, string>>): string[] =>
      Object.entries(values).map(([key, value]) => `${key}=${value}`);
    expect(given(plain, '--sqlite-pragma')).toEqual(plainPairs(temporal.sqlite_pragmas).sort());
    expect(given(plain, '--search-attribute')).toEqual(plainPairs(temporal.search_attributes).sort());
  });

  it('knows every key: it takes one that it does not know without a word', () => {
    const binary = readFileSync(readlinkSync(`/proc/${pidOf(plain)}/exe`));
    const unknown = (keys: readonly string[]): string[] => keys.filter((key) => !binary.includes(key));
    expect(unknown(['history.timerProcessorMaxTimeShifted'])).toHaveLength(1);
    expect(
      unknown([...Object.keys(temporal.dynamic_config), ...Object.keys(temporal.test_dynamic_config)]),
    ).toEqual([]);
  });

  it('gives a queue one partition, as it was told', async () => {
    const connection = await Connection.connect({ address: plain.env['TEMPORAL_ADDRESS'] ?? '' });
    try {
      const { namespace } = temporal;
      const found = await connection.workflowService.listTaskQueuePartitions({
        namespace,
        taskQueue: { name: taskQueues.provisioning },
      });
      expect(found.activityTaskQueuePartitions).toHaveLength(1);
      expect(found.workflowTaskQueuePartitions).toHaveLength(1);
    } finally {
      await connection.close();
    }
  });
});
