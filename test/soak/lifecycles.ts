/**
 * Lifecycles without end on the whole platform with simulated nodes, and, when asked, with processes killed
 * under them. Watches memory, files and data; at the end nothing may be left.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openDatabase } from '../../db/client.ts';
import { startPlatform, type Platform, type ServiceName } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import type { RunContext } from '../../workers/local/run.ts';
import { Service } from '../../workers/local/service.ts';
import { liftLimits, registerNodes, untilAvailable, type RegisteredNode } from '../bench/fleet.ts';
import { ProductDriver } from '../bench/product.ts';
import { summarise } from '../bench/stats.ts';
import { isClean, readResidue, type Residue } from './residue.ts';
import type { SoakResult } from './result.ts';
import { growthPerHour, soakPids, takeSample, type Sample } from './samples.ts';

export interface LifecycleSoakOptions {
  readonly minutes: number;
  readonly concurrency: number;
  /** Seconds between two kills of a process of ours; 0 kills none. */
  readonly killEverySeconds: number;
  readonly sampleEverySeconds: number;
}

const residueDeadlineMs = 60_000;
const victims: readonly ServiceName[] = ['api', 'worker', 'relay', 'consumers'];

/** Keeps `concurrency` lifecycles in flight until the signal; every one that fails is kept with its reason. */
async function lifecycles(driver: ProductDriver, concurrency: number, ending: AbortSignal) {
  const totals: number[] = [];
  const failures: string[] = [];
  const loop = async (): Promise<void> => {
    while (!ending.aborted) {
      try {
        totals.push((await driver.lifecycle()).totalMs);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        if (failures.length > 100) throw error;
      }
    }
  };
  return { totals, failures, done: Promise.all(Array.from({ length: concurrency }, loop)) };
}

async function killing(
  platform: Platform,
  everySeconds: number,
  ending: AbortSignal,
  log: RunContext['log'],
) {
  let kills = 0;
  while (everySeconds > 0 && (await passes(everySeconds, ending))) {
    const name = victims[kills % victims.length] ?? 'worker';
    const service = platform.services[name];
    await service.kill();
    await service.start();
    kills += 1;
    log(`killed and started ${name}`);
  }
  return kills;
}

/** False when the signal came first. */
const passes = (seconds: number, ending: AbortSignal): Promise<boolean> =>
  delay(seconds * 1000, true, { signal: ending }).catch(() => false);

async function startFleetProcess(platform: Platform, nodes: readonly RegisteredNode[]): Promise<Service> {
  const dir = path.join(platform.stack.stateDir, 'soak');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const nodesFile = path.join(dir, 'nodes.json');
  const list = nodes.map(({ id, secret }) => ({ node_id: id, agent_secret: secret }));
  writeFileSync(nodesFile, JSON.stringify(list), { mode: 0o600 });
  const service: Service = new Service({
    name: 'fleet',
    entry: 'workers/local/fleet/main.ts',
    logDir: path.join(platform.stack.stateDir, 'logs'),
    env: {
      FLEET_NODES_FILE: nodesFile,
      FLEET_COUNT: String(nodes.length),
      FLEET_ROOT: path.join(dir, 'nodes'),
      AGENT_API_URL: platform.internalUrl,
      AGENT_CA_FILE: platform.env['INTERNAL_TLS_CA_FILE'] ?? '',
      AGENT_VERIFY_KEY_FILE: platform.env['TASK_VERIFY_KEY_FILE'] ?? '',
      AGENT_GPU_COUNT: '8',
      AGENT_HOLD_SECONDS: '25',
    },
    probe: async () => {
      const said =
        existsSync(service.logFile()) && readFileSync(service.logFile(), 'utf8').includes('fleet_started');
      if (!said) throw new Error('the fleet has said nothing yet');
    },
  });
  await service.start();
  return service;
}

function growthTable(samples: readonly Sample[]): Record<string, number> {
  // The first third is warm-up: caches fill, heaps find their size.
  const late = samples.slice(Math.floor(samples.length / 3));
  const names = [...new Set(late.flatMap((sample) => Object.keys(sample.memoryMib)))];
  const series = (pick: (sample: Sample) => number | undefined): number =>
    growthPerHour(late.flatMap((sample) => [[sample.at, pick(sample)] as const]).filter(isKnown));
  return {
    ...Object.fromEntries(
      names.map((name) => [`memory of ${name}, MiB`, series((one) => one.memoryMib[name])]),
    ),
    ...Object.fromEntries(
      names.map((name) => [`open files of ${name}`, series((one) => one.openFiles[name])]),
    ),
    'database, MiB': series((one) => one.databaseMib),
    'engine data, MiB': series((one) => one.engineMib),
  };
}

const isKnown = (point: readonly [number, number | undefined]): point is readonly [number, number] =>
  point[1] !== undefined;

/** @returns the report; it is a failure when `broken` says why. */
export async function soakLifecycles(
  { log, signal, onStop }: RunContext,
  options: LifecycleSoakOptions,
): Promise<SoakResult> {
  const { minutes, concurrency } = options;
  const platform = await startPlatform({ name: 'soak', ports: 'free', wipe: true, log });
  onStop(() => platform.stop());
  await liftLimits(platform);
  const count = concurrency + 2;
  const fleet = await startFleetProcess(platform, await registerNodes(platform, count));
  onStop(() => fleet.stop());
  await untilAvailable(platform, count);
  const db = openDatabase({ url: platform.env['DATABASE_URL'] ?? '', applicationName: 'soak', max: 2 });
  onStop(() => db.close());
  const driver = await ProductDriver.open(platform, { patient: true });
  onStop(() => driver.close());
  // Not AbortSignal.any over AbortSignal.timeout: Node 20 may collect the pair before it fires.
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), minutes * 60_000);
  signal.addEventListener('abort', () => end.abort(), { once: true });
  onStop(async () => clearTimeout(timer));
  const ending = end.signal;
  const begun = performance.now();
  const running = await lifecycles(driver, concurrency, ending);
  const kills = killing(platform, options.killEverySeconds, ending, log);
  const samples: Sample[] = [];
  do {
    const at = (performance.now() - begun) / 1000;
    const sample = await takeSample(platform, db, soakPids(platform, fleet.pid()), at);
    samples.push(sample);
    const memory = Object.entries(sample.memoryMib).map(([name, mib]) => `${name} ${mib.toFixed(0)}`);
    log(
      `${at.toFixed(0)} s: ${running.totals.length} lifecycles, ${running.failures.length} failed; MiB ${memory.join(', ')}`,
    );
  } while (await passes(options.sampleEverySeconds, ending));
  await running.done;
  let residue: Residue = {};
  const clean = waitUntil(async () => isClean((residue = await readResidue(db, driver.temporal))), {
    deadlineMs: residueDeadlineMs,
    pollMs: 500,
    onTimeout: () => `left behind: ${JSON.stringify(residue)}`,
  }).then(
    () => 'nothing is left behind',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  const report = {
    minutes: (performance.now() - begun) / 60_000,
    lifecycles: running.totals.length,
    latency_ms: summarise(running.totals),
    kills: await kills,
    failures: running.failures,
    residue: await clean,
    growth_per_hour: growthTable(samples),
    samples,
  };
  const broken = !isClean(residue)
    ? report.residue
    : report.failures.length > 0
      ? `${report.failures.length} lifecycles failed`
      : undefined;
  const { samples: _, ...summary } = report;
  return { report, summary, stateDir: platform.stack.stateDir, broken };
}
