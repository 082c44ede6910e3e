/** Runs of one side of a comparison: one after the other, or a closed loop that saturates the machine. */
import { setTimeout as delay } from 'node:timers/promises';
import { cpuBetween, readCpu, type CpuReading } from './machine.ts';
import type { Lifecycle } from './product.ts';

export type Pids = () => Readonly<Record<string, number | undefined>>;

/** `count` runs, one after the other. */
export async function serialBlock<T>(count: number, run: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let done = 0; done < count; done += 1) results.push(await run());
  return results;
}

export interface LoopResult {
  readonly perSecond: number;
  readonly lifecycles: readonly Lifecycle[];
  readonly failures: readonly string[];
  /** Processor time per finished lifecycle, in ms, by process. */
  readonly cpuMs: CpuReading;
  /** Share of all cores that was in use, 0 to 1. */
  readonly busy: number;
}

const rampUpMs = 1000;
/** On a slow machine the window is stretched until two lifecycles of each loop count, but not without end. */
const maxStretch = 6;
const lookEveryMs = 100;

/**
 * Keeps `concurrency` runs in flight. What ends within the window counts; the ramp-up before and the drain after do not.
 */
export async function loopBlock(options: {
  readonly concurrency: number;
  readonly windowMs: number;
  readonly cores: number;
  readonly pids: Pids;
  readonly run: () => Promise<Lifecycle>;
}): Promise<LoopResult> {
  const lifecycles: Lifecycle[] = [];
  const failures: string[] = [];
  let state: 'ramp-up' | 'window' | 'drain' = 'ramp-up';
  const loop = async (): Promise<void> => {
    while (state !== 'drain') {
      try {
        const done = await options.run();
        // Read anew: the state moves on while a run is under way.
        if (readState() === 'window') lifecycles.push(done);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        if (failures.length > options.concurrency) throw error;
      }
    }
  };
  const readState = (): typeof state => state;
  const loops = Array.from({ length: options.concurrency }, loop);
  const failed = Promise.all(loops);
  await Promise.race([delay(rampUpMs), failed]);
  state = 'window';
  const [begun, before] = [performance.now(), readCpu(options.pids())];
  const lasted = (): number => performance.now() - begun;
  const enough = (): boolean =>
    lifecycles.length >= 2 * options.concurrency || lasted() > maxStretch * options.windowMs;
  await Promise.race([delay(options.windowMs), failed]);
  while (!enough()) await Promise.race([delay(lookEveryMs), failed]);
  state = 'drain';
  const [lastedMs, after] = [performance.now() - begun, readCpu(options.pids())];
  const finished = lifecycles.length;
  await failed;
  const spent = cpuBetween(before, after);
  const total = Object.values(spent).reduce((sum, ms) => sum + ms, 0);
  return {
    perSecond: (finished * 1000) / lastedMs,
    lifecycles,
    failures,
    cpuMs: Object.fromEntries(Object.entries(spent).map(([name, ms]) => [name, ms / finished])),
    busy: total / (lastedMs * options.cores),
  };
}
