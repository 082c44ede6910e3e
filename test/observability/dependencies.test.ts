/** What API and worker say of the servers that they need, while these go away and come back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import { watchDependencies } from '../../activities/platform/dependencies.ts';
import { Service } from '../../workers/local/service.ts';
import { reserveFreePort } from '../../workers/local/ports.ts';
import { startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';
import { until } from '../harness/lab.ts';

type Server = 'postgres' | 'temporal' | 'nats' | 'redis';
const servers: readonly Server[] = ['postgres', 'temporal', 'nats', 'redis'];
/** Several probes of the slower process. */
const withinMs = 60_000;
const testMs = 240_000;

/** The gauge of an exposition, by server. */
async function gaugeOf(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(url)).text();
  const samples = text.matchAll(/^gpuaas_dependency_up\{[^}]*dependency="(\w+)"[^}]*\} (\d+)$/gm);
  return Object.fromEntries([...samples].map(([, name = '', value]) => [name, Number(value)]));
}

describe('the gauge of dependencies', () => {
  let h: ApiHarness;
  let worker: Service;
  let folder: string;
  const release: (() => void)[] = [];
  let urls: Readonly<Record<'api' | 'worker', string>>;

  beforeAll(async () => {
    h = await startApiHarness({ parts: servers });
    folder = mkdtempSync(path.join(tmpdir(), 'dependencies-'));
    const port = await reserveFreePort('metrics of a worker');
    release.push(() => port.release());
    const metricsUrl = `http://127.0.0.1:${port.port}/metrics`;
    worker = new Service({
      name: 'worker',
      entry: 'workers/main.ts',
      env: {
        ...h.stack.env,
        GPUAAS_ENV: 'test',
        RECONCILE_EVERY_MS: '200',
        WORKER_METRICS_ADDRESS: `127.0.0.1:${port.port}`,
      },
      logDir: folder,
      probe: async () => {
        const answer = await fetch(metricsUrl, { signal: AbortSignal.timeout(2000) });
        if (!(await answer.text()).includes('temporal_num_pollers')) throw new Error('it does not poll yet');
      },
    });
    await worker.start();
    urls = { api: `${h.api.publicUrl}/metrics`, worker: metricsUrl };
  }, startTimeoutMs);
  afterAll(async () => {
    await worker?.stop();
    await h?.stop();
    for (const give of release) give();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }, startTimeoutMs);

  /** Waits until both processes say that exactly these servers are away. */
  const untilAway = async (away: readonly Server[]): Promise<void> => {
    const wanted = (needed: readonly Server[]) =>
      Object.fromEntries(needed.map((server) => [server, away.includes(server) ? 0 : 1]));
    const expected = { api: wanted(['postgres', 'temporal', 'redis']), worker: wanted(servers) };
    const told = async () => ({ api: await gaugeOf(urls.api), worker: await gaugeOf(urls.worker) });
    const isSame = (one: Record<string, number>, other: Record<string, number>): boolean =>
      Object.keys({ ...one, ...other }).every((name) => one[name] === other[name]);
    await until(
      `away: ${away.join(', ') || 'none'}`,
      async () => {
        const { api, worker } = await told();
        return isSame(api, expected.api) && isSame(worker, expected.worker);
      },
      { withinMs, state: told },
    );
  };

  it(
    'shows the one that is away, and that it is back',
    async () => {
      const { parts } = h.stack;
      await untilAway([]);
      await parts.temporal.stop();
      await untilAway(['temporal']);
      await Promise.all([parts.temporal.start(), parts.postgres.kill(), parts.redis.kill()]);
      await parts.nats.kill();
      await untilAway(['postgres', 'nats', 'redis']);
      await Promise.all([parts.postgres.start(), parts.redis.start(), parts.nats.start()]);
      await untilAway([]);
      const said = h.log.filter((line) => line.includes('"dependency":"temporal"'));
      const messages = said.map((line) => (JSON.parse(line) as { message: string }).message);
      expect(messages).toContain('a dependency is away');
      expect(messages.at(-1)).toBe('a dependency is back');
    },
    testMs,
  );
});

describe('a watch of dependencies', () => {
  const quiet = createLogger({ process: 'test', level: 'silent' });

  it('takes a server that never answers for one that is away, and delays no other by it', async () => {
    const told: string[] = [];
    const watch = watchDependencies({
      probes: {
        temporal: () => new Promise(() => undefined),
        nats: () => Promise.reject(new Error('away')),
        redis: () => Promise.resolve(),
      },
      everyMs: 1,
      tell: (dependency, isUp) => void told.push(`${dependency} ${isUp}`),
      log: quiet,
    });
    await until('all have been told', () => told.includes('temporal false'));
    watch.stop();
    expect(new Set(told)).toEqual(new Set(['redis true', 'nats false', 'temporal false']));
    expect(told.filter((one) => one === 'redis true').length).toBeGreaterThan(1);
    expect(told.indexOf('redis true')).toBeLessThan(told.indexOf('temporal false'));
  });

  it('tells nothing after its end, not even what it had asked before', async () => {
    const told: string[] = [];
    let answer = (): void => undefined;
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const watch = watchDependencies({
      probes: { nats: () => asked },
      everyMs: 1,
      tell: (dependency) => void told.push(dependency),
      log: quiet,
    });
    watch.stop();
    answer();
    await asked;
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toEqual([]);
  });
});
