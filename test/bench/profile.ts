/**
 * `node workers/local/bootstrap.mjs test/bench/profile.ts`: where API and worker spend their processor time while lifecycles
 * run. Self time by package and by function, out of V8's own profiles.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startPlatform, type Platform, type ServiceName } from '../../workers/local/platform.ts';
import { runInteractive } from '../../workers/local/run.ts';
import { Service } from '../../workers/local/service.ts';
import { checkoutRoot } from '../../workers/local/stack-config.ts';
import { loopBlock, serialBlock } from './blocks.ts';
import { liftLimits, startFleet } from './fleet.ts';
import { ProductDriver } from './product.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    concurrency: { type: 'string', default: '8' },
    /** Loads the read of one allocation instead of lifecycles. */
    read: { type: 'boolean', default: false },
  },
});

interface Profile {
  /** Microseconds of the monotonic clock. */
  readonly startTime: number;
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const entries = { api: 'api/main.ts', worker: 'workers/main.ts' } as const;
/** Instants of the monotonic clock, in microseconds. */
interface Window {
  readonly fromUs: number;
  readonly toUs: number;
}

const idle = new Set(['(idle)', '(root)']);
const shownPackages = 14;
const shownFunctions = 25;

/** Replaces a process of the platform by the same one under the profiler. */
async function profiled(
  platform: Platform,
  name: ServiceName & keyof typeof entries,
  dir: string,
): Promise<Service> {
  await platform.services[name].stop();
  const logDir = path.join(platform.stack.stateDir, 'logs');
  const service = new Service({
    name: `${name}-profiled`,
    entry: entries[name],
    env: platform.env,
    logDir,
    nodeArgs: ['--cpu-prof', `--cpu-prof-dir=${path.join(dir, name)}`, '--enable-source-maps'],
    probe: async () => {
      const log = readFileSync(path.join(logDir, `${name}-profiled.log`), 'utf8');
      if (!log.includes(`${name} ready`)) throw new Error('not ready yet');
    },
  });
  await service.start();
  return service;
}

function packageOf(url: string): string {
  const inPackages = /node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*node_modules)/.exec(url)?.[1];
  if (inPackages !== undefined) return inPackages;
  if (url.startsWith('node:')) return 'node';
  const at = url.indexOf(checkoutRoot);
  return at >= 0 ? `ours: ${url.slice(at + checkoutRoot.length + 1).split('/')[0] ?? ''}` : 'engine';
}

/** Self time in ms, largest first, by whatever the key says. */
function selfTime(
  { profile, fromUs, toUs }: { profile: Profile } & Window,
  keyOf: (frame: Profile['nodes'][number]['callFrame']) => string,
): [string, number][] {
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, number>();
  let at = profile.startTime;
  profile.samples.forEach((id, index) => {
    const spentUs = profile.timeDeltas[index] ?? 0;
    at += spentUs;
    const frame = frames.get(id);
    if (at < fromUs || at > toUs || frame === undefined || idle.has(frame.functionName)) return;
    const key = keyOf(frame);
    times.set(key, (times.get(key) ?? 0) + spentUs / 1000);
  });
  return [...times].sort((a, b) => b[1] - a[1]);
}

/** `CPU.<date>.<time>.<pid>.<thread>.<serial>.cpuprofile`; thread 1 compiles the TypeScript sources. */
const threadOf = (file: string): string => file.split('.')[4] ?? '';
const loaderThread = '1';

const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** Prints one thread's profile within a window. */
function show(name: string, file: string, window: Window, log: (line: string) => void): void {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile;
  const of = { profile, ...window };
  const byPackage = selfTime(of, (frame) =>
    frame.functionName.startsWith('(') ? frame.functionName : packageOf(frame.url),
  );
  const total = byPackage.reduce((sum, [, ms]) => sum + ms, 0);
  const line = ([key, ms]: [string, number]): string =>
    `${((ms * 100) / total).toFixed(1).padStart(6)} %  ${ms.toFixed(0).padStart(7)} ms  ${key}`;
  log(`\n${name}: ${total.toFixed(0)} ms busy\n${byPackage.slice(0, shownPackages).map(line).join('\n')}\n`);
  const short = (url: string): string =>
    url.replace(/^.*node_modules\//, '').replace(`file://${checkoutRoot}/`, '');
  const byFunction = selfTime(
    of,
    (frame) => `${frame.functionName || '(anonymous)'} ${short(frame.url)}:${frame.lineNumber + 1}`,
  );
  log(byFunction.slice(0, shownFunctions).map(line).join('\n'));
}

await runInteractive('profile', async ({ log, onStop }) => {
  const platform = await startPlatform({ name: 'profile', ports: 'free', wipe: true, log });
  onStop(() => platform.stop());
  const concurrency = Number(values.concurrency);
  await liftLimits(platform);
  const fleet = await startFleet(platform, concurrency + 4);
  onStop(() => fleet.service.stop());
  const driver = await ProductDriver.open(platform, { patient: true });
  onStop(() => driver.close());
  const dir = path.join(platform.stack.stateDir, 'profile');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const [api, worker] = await Promise.all([
    profiled(platform, 'api', dir),
    profiled(platform, 'worker', dir),
  ]);
  await serialBlock(5, () => driver.lifecycle());
  const fromUs = monotonicUs();
  if (values.read) {
    const { loadUrl } = await import('./read.ts');
    const { id, tenant } = await driver.create();
    const url = `${platform.apiUrl}/api/v1/allocations/${id}`;
    log(JSON.stringify(await loadUrl(url, Number(values.seconds), await driver.tokenOf(tenant))));
  } else {
    const pids = () => ({
      api: api.pid(),
      worker: worker.pid(),
      postgres: platform.stack.parts.postgres.pid(),
    });
    const windowMs = Number(values.seconds) * 1000;
    const loop = await loopBlock({ concurrency, windowMs, cores: 1, pids, run: () => driver.lifecycle() });
    log(`${loop.perSecond.toFixed(1)} lifecycles/s; processor ms each ${JSON.stringify(loop.cpuMs)}`);
  }
  const window = { fromUs, toUs: monotonicUs() };
  await Promise.all([api.stop(), worker.stop()]);
  for (const name of ['api', 'worker']) {
    const files = readdirSync(path.join(dir, name)).filter((file) => threadOf(file) !== loaderThread);
    for (const file of files.sort())
      show(`${name}, thread ${threadOf(file)}`, path.join(dir, name, file), window, log);
  }
});
