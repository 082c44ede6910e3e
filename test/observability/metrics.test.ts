/** What a running platform serves to Prometheus: linted, and holding every metric that an alert rule names. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { subjects } from '../../contracts/channels.ts';
import { deadLetterReasons } from '../../contracts/ops/dead-letter.ts';
import { consumerName } from '../../contracts/streams.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { metricsIn, readRules, runPromtool } from './promtool.ts';

const startMs = 600_000;
const figuresDeadlineMs = 60_000;
const timeoutMs = 120_000;
type Source = keyof Platform['metricsUrls'];
const sources: readonly Source[] = ['api', 'relay', 'consumers', 'worker'];

/** The families of an exposition that are ours; the engine's own are its makers' affair. */
const ours = (text: string): string =>
  text
    .split('\n')
    .filter((line) => line !== '' && !/^(# \w+ )?temporal_/.test(line))
    .join('\n') + '\n';

/** Names as a rule would use them. */
const namesIn = (text: string): string[] =>
  [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name = '', type]) =>
    type === 'histogram' || type === 'summary' ? [`${name}_count`, `${name}_sum`, `${name}_bucket`] : [name],
  );

describe('the metrics of a running platform', () => {
  let platform: Platform;
  const served = new Map<Source, string>();

  beforeAll(async () => {
    platform = await startPlatform({ name: 'metrics', ports: 'free', ephemeral: true });
    await fetch(`${platform.apiUrl}/api/v1/catalog/skus`);
    for (const source of sources) {
      await waitUntil(
        async () => {
          const answer = await fetch(platform.metricsUrls[source]);
          served.set(source, await answer.text());
          // The worker shows its figures once it has read them, and its repairs once it has looked for some.
          const late = source === 'worker' ? ['gpuaas_allocations', 'gpuaas_reconciler_repairs_total'] : [];
          return answer.ok && late.every((name) => (served.get(source) ?? '').includes(name));
        },
        { deadlineMs: figuresDeadlineMs, onTimeout: () => `${source} does not serve its metrics` },
      );
    }
  }, startMs);

  afterAll(() => platform?.stop());

  it.each(sources)(
    'of %s pass promtool',
    async (source) => {
      const text = ours(served.get(source) ?? '');
      expect(namesIn(text).length).toBeGreaterThan(2);
      expect(await runPromtool(['check', 'metrics'], text)).toEqual({ code: 0, output: '' });
    },
    timeoutMs,
  );

  it('hold every metric that an alert rule names', () => {
    const all = new Set([...served.values()].flatMap(namesIn));
    const named = readRules().flatMap(({ expr }) => metricsIn(expr));
    expect(named.length).toBeGreaterThanOrEqual(readRules().length);
    expect(named.filter((name) => !all.has(name))).toEqual([]);
  });

  it(
    'count the repairs of every reconciler that an alert rule names',
    async () => {
      const named = readRules().flatMap(({ expr }) =>
        [...expr.matchAll(/gpuaas_reconciler_repairs_total\{reconciler="([\w-]+)"/g)].map(([, name]) => name),
      );
      expect(new Set(named)).toEqual(new Set(['missing-runs', 'missing-replays', 'undelivered-commands']));
      let text = '';
      const missing = () =>
        named.filter(
          (name) =>
            !text
              .split('\n')
              .some(
                (line) => line.startsWith('gpuaas_reconciler_repairs_total{') && line.includes(`"${name}"`),
              ),
        );
      await waitUntil(
        async () => {
          text = await (await fetch(platform.metricsUrls.worker)).text();
          return missing().length === 0;
        },
        {
          deadlineMs: figuresDeadlineMs,
          onTimeout: () => `the worker does not count ${missing().join(', ')}`,
        },
      );
      expect(await runPromtool(['check', 'metrics'], ours(text))).toEqual({ code: 0, output: '' });
    },
    timeoutMs,
  );

  it('count the dead letters of every consumer and reason from zero', () => {
    const text = served.get('consumers') ?? '';
    const counted = new Set(
      [
        ...text.matchAll(/^gpuaas_consumer_dead_letters_total\{consumer="([\w-]+)",reason="(\w+)"\} 0$/gm),
      ].map(([, consumer, reason]) => `${consumer} ${reason}`),
    );
    const expected = subjects
      .map((subject) => consumerName('event-log', subject))
      .flatMap((consumer) => deadLetterReasons.map((reason) => `${consumer} ${reason}`));
    expect(expected.filter((one) => !counted.has(one))).toEqual([]);
  });

  it(
    'would not pass with a counter that does not say so',
    async () => {
      const text = '# HELP gpuaas_things Things.\n# TYPE gpuaas_things counter\ngpuaas_things 1\n';
      expect(await runPromtool(['check', 'metrics'], text)).toMatchObject({ code: 3 });
    },
    timeoutMs,
  );
});
