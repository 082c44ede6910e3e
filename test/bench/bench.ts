/** The order of a benchmark: start, warm up, then every comparison interleaved on the same servers. */
import { loadavg } from 'node:os';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import type { RunContext } from '../../workers/local/run.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';
import { loopBlock, serialBlock, type LoopResult, type Pids } from './blocks.ts';
import { liftLimits, startFleet, type Fleet } from './fleet.ts';
import { checkoutVersion, describeMachine, memoryMibOf } from './machine.ts';
import { OutboxProbe } from './outbox-probe.ts';
import { pickupLatencies, recordHistory } from './pickup.ts';
import { ProductDriver, type Lifecycle } from './product.ts';
import { RawDriver } from './raw.ts';
import { loadUrl, startBareServer, type ReadResult } from './read.ts';
import type { BenchReport, ThroughputSide } from './report.ts';
import { eventCounts, payloadBytes, shapeOf } from './shape.ts';
import { median, ratioOf, summarise } from './stats.ts';

export interface BenchOptions {
  readonly quick: boolean;
  /** Whether Postgres waits for the disk at every commit. */
  readonly fsync: boolean;
  readonly repeats: number;
  /** Lifecycles in flight in the closed loop. */
  readonly concurrency: number;
}

interface Sizes {
  readonly warmUp: number;
  readonly serialRuns: number;
  readonly windowMs: number;
  readonly probes: number;
  readonly readSeconds: number;
}

const full: Sizes = { warmUp: 40, serialRuns: 30, windowMs: 8000, probes: 300, readSeconds: 4 };
const quick: Sizes = { warmUp: 10, serialRuns: 8, windowMs: 3000, probes: 60, readSeconds: 2 };
/** Of each saturated block, so many runs are read back for their pickup latency. */
const sampledRuns = 20;

/** Everything that runs during the benchmark. */
interface Scene {
  readonly platform: Platform;
  readonly fleet: Fleet;
  readonly product: ProductDriver;
  readonly raw: RawDriver;
  readonly probe: OutboxProbe;
  readonly pids: Pids;
  readonly log: (line: string) => void;
}

/** Runs the whole benchmark on a stack of its own. */
export async function runBench(context: RunContext, options: BenchOptions): Promise<BenchReport> {
  const sizes = options.quick ? quick : full;
  const machine = describeMachine(serverVersions());
  const warnings =
    machine.load_average_at_start > machine.cores
      ? [
          `the load average was ${machine.load_average_at_start.toFixed(2)} at the start: other work shared the cores`,
        ]
      : [];
  for (const warning of warnings) context.log(`WARNING: ${warning}`);
  const { scene, shape } = await setUp(context, options, sizes);
  const serial = await compareSerial(scene, sizes, options.repeats);
  const probes = await serialBlock(sizes.probes, () => scene.probe.once());
  context.log(`outbox: ${probes.length} probes`);
  const loops = await compareThroughput(scene, sizes, options, machine.cores);
  const read = await compareReads(scene, sizes, options.repeats, context);
  const lifecycles = serial.p.flat();
  const all = loops.p.flatMap((one) => one.lifecycles);
  const report: BenchReport = {
    benchmark: 'gpuaas',
    at: new Date().toISOString(),
    checkout: checkoutVersion(),
    quick: options.quick,
    machine,
    warnings: [...warnings, ...loadWarning(machine.cores)],
    settings: {
      repeats: options.repeats,
      concurrency: options.concurrency,
      serial_runs: sizes.serialRuns,
      postgres_fsync: options.fsync,
    },
    shape,
    serial_ms: {
      r0: summarise(serial.r0.flat()),
      r1: summarise(serial.r1.flat().map((one) => one.totalMs)),
      p: summarise(lifecycles.map((one) => one.totalMs)),
    },
    serial_ratio: ratioOf(serial.r1.map(medianTotal), serial.p.map(medianTotal)),
    throughput: { r1: sideOf(loops.r1), p: sideOf(loops.p) },
    throughput_ratio: ratioOf(
      loops.p.map((one) => one.perSecond),
      loops.r1.map((one) => one.perSecond),
    ),
    latency_ms: {
      create_to_201: summarise(lifecycles.map((one) => one.createdMs)),
      create_to_active: summarise(lifecycles.map((one) => one.activeMs)),
      release_to_answer: summarise(lifecycles.map((one) => one.releaseAnsweredMs)),
      release_to_released: summarise(lifecycles.map((one) => one.releasedMs)),
      create_to_201_saturated: summarise(all.map((one) => one.createdMs)),
      pickup: summarise(serial.pickup),
      pickup_saturated: summarise(loops.pickup),
      outbox_commit_to_consumer: summarise(probes),
      outbox_written_to_consumer_saturated: summarise(loops.outbox),
    },
    read,
    failures: [...loops.p, ...loops.r1].flatMap((one) => one.failures),
    memory_mib: memoryOf(scene.pids()),
  };
  return report;
}

const medianTotal = (block: readonly Lifecycle[]): number => median(block.map((one) => one.totalMs));

function serverVersions(): Record<string, string> {
  const { versions } = loadStackConfig();
  return Object.fromEntries(
    Object.entries(versions).map(([name, { pinned }]) => [`${name} (pinned)`, pinned]),
  );
}

/** Our own work makes the load average rise to about the concurrency; this is for the record. */
const loadWarning = (cores: number): string[] => {
  const last = loadavg()[0] ?? 0;
  return last > 8 * cores ? [`the load average was ${last.toFixed(2)} at the end`] : [];
};

async function setUp(context: RunContext, options: BenchOptions, sizes: Sizes) {
  const { log, onStop } = context;
  const platform = await startPlatform({
    name: 'bench',
    ports: 'free',
    wipe: true,
    ephemeral: !options.fsync,
    log,
  });
  onStop(() => platform.stop());
  await liftLimits(platform);
  // One node stays with the allocation that the read benchmark reads; a few are spare.
  const fleet = await startFleet(platform, options.concurrency + 4);
  onStop(() => fleet.service.stop());
  const product = await ProductDriver.open(platform);
  onStop(() => product.close());
  const warm = await serialBlock(sizes.warmUp, () => product.lifecycle());
  const history = await recordHistory(product.temporal, warm.at(-1)?.workflowId ?? '');
  const shape = { events: eventCounts(history), payload_bytes: payloadBytes(history) };
  const raw = await RawDriver.start(platform.stack, shapeOf(history));
  onStop(() => raw.stop());
  await serialBlock(sizes.warmUp, () => raw.lifecycle());
  await serialBlock(sizes.warmUp, () => raw.empty());
  const probe = await OutboxProbe.open(platform.env, product.nats);
  onStop(() => probe.close());
  await serialBlock(sizes.warmUp, () => probe.once());
  log(`warm: ${warm.length} lifecycles, R1 copies ${Object.keys(shape.events).length} kinds of events`);
  const pids: Pids = () => ({
    temporal: platform.stack.parts.temporal.pid(),
    worker: platform.services.worker.pid(),
    'raw worker': raw.service.pid(),
    api: platform.services.api.pid(),
    postgres: platform.stack.parts.postgres.pid(),
    relay: platform.services.relay.pid(),
    consumers: platform.services.consumers.pid(),
    nats: platform.stack.parts.nats.pid(),
    redis: platform.stack.parts.redis.pid(),
    agents: fleet.service.pid(),
    driver: process.pid,
  });
  const scene: Scene = { platform, fleet, product, raw, probe, pids, log };
  return { scene, shape };
}

async function compareSerial({ product, raw, fleet, log }: Scene, sizes: Sizes, repeats: number) {
  const r0: number[][] = [];
  const r1: Lifecycle[][] = [];
  const p: Lifecycle[][] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    r1.push(await serialBlock(sizes.serialRuns, () => raw.lifecycle()));
    p.push(await serialBlock(sizes.serialRuns, () => product.lifecycle()));
    r0.push(await serialBlock(sizes.serialRuns, () => raw.empty()));
    const [a, b, c] = [medianTotal(r1.at(-1) ?? []), medianTotal(p.at(-1) ?? []), median(r0.at(-1) ?? [])];
    log(`serial ${repeat + 1}: R0 ${c.toFixed(1)}, R1 ${a.toFixed(1)}, P ${b.toFixed(1)} ms`);
  }
  const ids = p.flat().map((one) => one.workflowId);
  return { r0, r1, p, pickup: await pickupLatencies(product.temporal, ids, fleet.arrivals()) };
}

async function compareThroughput(
  { product, raw, fleet, probe, pids, log }: Scene,
  sizes: Sizes,
  options: BenchOptions,
  cores: number,
) {
  const r1: LoopResult[] = [];
  const p: LoopResult[] = [];
  const outbox: number[] = [];
  const common = { concurrency: options.concurrency, windowMs: sizes.windowMs, cores, pids };
  const sampled: string[] = [];
  await probe.sinceWritten();
  for (let repeat = 0; repeat < options.repeats; repeat += 1) {
    const a = await loopBlock({ ...common, run: () => raw.lifecycle() });
    const b = await loopBlock({ ...common, run: () => product.lifecycle() });
    r1.push(a);
    p.push(b);
    outbox.push(...(await probe.sinceWritten()));
    sampled.push(...b.lifecycles.slice(-sampledRuns).map((one) => one.workflowId));
    log(`throughput ${repeat + 1}: R1 ${a.perSecond.toFixed(1)}/s, P ${b.perSecond.toFixed(1)}/s`);
  }
  return { r1, p, outbox, pickup: await pickupLatencies(product.temporal, sampled, fleet.arrivals()) };
}

async function compareReads(
  { platform, product, log }: Scene,
  sizes: Sizes,
  repeats: number,
  { onStop }: RunContext,
): Promise<BenchReport['read']> {
  const bareServer = await startBareServer(platform);
  onStop(() => bareServer.service.stop());
  const { id, tenant } = await product.create();
  const api: ReadResult[] = [];
  const bare: ReadResult[] = [];
  await loadUrl(`${bareServer.url}/${id}`, 1);
  await loadUrl(`${platform.apiUrl}/api/v1/allocations/${id}`, 1, await product.tokenOf(tenant));
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    bare.push(await loadUrl(`${bareServer.url}/${id}`, sizes.readSeconds));
    const token = await product.tokenOf(tenant);
    api.push(await loadUrl(`${platform.apiUrl}/api/v1/allocations/${id}`, sizes.readSeconds, token));
    log(
      `read ${repeat + 1}: bare ${bare.at(-1)?.perSecond.toFixed(0)}/s, API ${api.at(-1)?.perSecond.toFixed(0)}/s`,
    );
  }
  await product.release(id, tenant);
  const rates = (of: readonly ReadResult[]): number[] => of.map((one) => one.perSecond);
  return {
    api_per_second: rates(api),
    bare_per_second: rates(bare),
    ratio: ratioOf(rates(api), rates(bare)),
    api_p99_ms: median(api.map((one) => one.p99Ms)),
    bare_p99_ms: median(bare.map((one) => one.p99Ms)),
  };
}

function sideOf(loops: readonly LoopResult[]): ThroughputSide {
  const rates = loops.map((one) => one.perSecond);
  const names = Object.keys(loops[0]?.cpuMs ?? {});
  const cpu = Object.fromEntries(
    names.map((name) => [name, median(loops.map((one) => one.cpuMs[name] ?? 0))]),
  );
  return {
    per_second: rates,
    median_per_second: median(rates),
    cpu_ms: cpu,
    cpu_ms_total: Object.values(cpu).reduce((sum, ms) => sum + ms, 0),
    busy: median(loops.map((one) => one.busy)),
    latency_ms: summarise(loops.flatMap((one) => one.lifecycles.map((done) => done.totalMs))),
  };
}

const memoryOf = (pids: Readonly<Record<string, number | undefined>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => [
      name,
      pid === undefined || pid === process.pid ? process.memoryUsage.rss() / 1_048_576 : memoryMibOf(pid),
    ]),
  );
