import type { Logger } from 'pino';

/** The servers that a process may need. */
export type Dependency = 'temporal' | 'postgres' | 'nats' | 'redis';

/** Asks a server whether it works; rejects when it does not. */
export type Probe = () => Promise<unknown>;

export interface DependencyWatch {
  readonly probes: Readonly<Partial<Record<Dependency, Probe>>>;
  readonly everyMs: number;
  /** Told the answer of every probe. */
  readonly tell: (dependency: Dependency, isUp: boolean) => void;
  readonly log: Logger;
}

/** A probe without an answer after this has failed. */
export const probeTimeoutMs = 1000;

/**
 * Asks every server at once and then again and again, each at a pace of its own, so that one that hangs delays no
 * other. What is told is at most `everyMs` and one second old, whoever looks at it.
 */
export function watchDependencies({ probes, everyMs, tell, log }: DependencyWatch): { stop(): void } {
  const timers = new Map<Dependency, NodeJS.Timeout>();
  let stopped = false;
  const follow = async (dependency: Dependency, probe: Probe, was: boolean): Promise<void> => {
    const isUp = await answers(probe);
    if (stopped) return;
    tell(dependency, isUp);
    if (isUp && !was) log.info({ dependency }, 'a dependency is back');
    if (!isUp && was) log.warn({ dependency }, 'a dependency is away');
    const timer = setTimeout(() => void follow(dependency, probe, isUp), everyMs);
    timer.unref();
    timers.set(dependency, timer);
  };
  for (const [dependency, probe] of Object.entries(probes))
    void follow(dependency as Dependency, probe, true);
  return {
    stop: () => {
      stopped = true;
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

/** Never rejects. */
async function answers(probe: Probe): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), probeTimeoutMs);
  });
  // One that throws before it has a promise is away like any other.
  const answer = Promise.resolve()
    .then(probe)
    .then(
      () => true,
      () => false,
    );
  const isUp = await Promise.race([answer, late]);
  clearTimeout(timer);
  return isUp;
}
