/** Real worker processes over a stack, supervised: one that ends is reported and started again. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { reserveFreePort } from '../../workers/local/ports.ts';
import { ManagedProcess, type ExitStatus } from '../../workers/local/process.ts';
import { checkoutRoot } from '../../workers/local/stack-config.ts';
import type { Stack } from '../../workers/local/stack.ts';
import { servePlan } from './fault-socket.ts';
import type { FaultPlan } from './faults.ts';
import { currentBundle } from './lab-workers.ts';

const entry = fileURLToPath(import.meta.resolve('./faulty-worker.ts'));
const readyDeadlineMs = 60_000;
const stopGraceMs = 20_000;
const tailLines = 40;

/** How a worker process ended without having been told to stop. */
export interface Death extends ExitStatus {
  readonly pid: number;
}

export interface WorkerProcesses {
  readonly deaths: readonly Death[];
  /** Ids of the processes that run now. */
  pids(): number[];
  /** The last lines of each worker's log. */
  logTail(): string;
  stop(): Promise<void>;
}

interface Settings {
  readonly stack: Stack;
  /** For the socket, the bundle and the logs. */
  readonly folder: string;
  readonly plan: FaultPlan;
  readonly count: number;
}

/** Starts `count` replicas of the worker, all under the plan. @throws with the log's end when one does not come up. */
export async function startWorkerProcesses(settings: Settings): Promise<WorkerProcesses> {
  const { stack, folder, plan, count } = settings;
  const bundleFile = path.join(folder, 'workflow-bundle.js');
  writeFileSync(bundleFile, (await currentBundle()).code);
  const socketFile = path.join(folder, 'faults.sock');
  const served = await servePlan(plan, socketFile);
  const env = {
    ...stack.env,
    GPUAAS_ENV: 'test',
    LOG_LEVEL: 'info',
    RECONCILE_EVERY_MS: '250',
    WORKFLOW_BUNDLE_FILE: bundleFile,
    FAULT_SOCKET: socketFile,
  };
  const deaths: Death[] = [];
  const replicas = Array.from({ length: count }, (_, index) => {
    const logFile = path.join(folder, `worker-${index}.log`);
    return new Replica({ env, logFile, plan, onDeath: (death) => void deaths.push(death) });
  });
  await Promise.all(replicas.map((replica) => replica.start()));
  return {
    deaths,
    pids: () => replicas.flatMap((replica) => replica.pid() ?? []),
    logTail: () => replicas.map((replica) => replica.logTail()).join('\n'),
    stop: async () => {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await served.stop();
    },
  };
}

interface ReplicaSettings {
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly plan: FaultPlan;
  readonly onDeath: (death: Death) => void;
}

class Replica {
  readonly #of: ReplicaSettings;
  #process: ManagedProcess | undefined;
  #stopping = false;
  #starting: Promise<void> = Promise.resolve();

  constructor(of: ReplicaSettings) {
    this.#of = of;
  }

  start(): Promise<void> {
    this.#starting = this.#launch();
    return this.#starting;
  }

  pid(): number | undefined {
    return this.#process?.isRunning() === true ? this.#process.pid : undefined;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#starting.catch(() => undefined);
    await this.#process?.stop('SIGTERM', stopGraceMs);
  }

  logTail(): string {
    const { logFile } = this.#of;
    const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-tailLines);
    return [`${path.basename(logFile)}:`, ...lines].join('\n');
  }

  async #launch(): Promise<void> {
    const { env, logFile } = this.#of;
    const port = await reserveFreePort('metrics of a worker under test');
    const metricsAddress = `127.0.0.1:${port.port}`;
    const worker = await ManagedProcess.start({
      name: path.basename(logFile, '.log'),
      command: process.execPath,
      args: ['--enable-source-maps', '--import', 'tsx', entry],
      env: { ...env, WORKER_METRICS_ADDRESS: metricsAddress },
      cwd: checkoutRoot,
      logFile,
      deathSignal: 'KILL',
    });
    this.#process = worker;
    void worker.exited.then((status) => {
      port.release();
      this.#ended(worker.pid, status);
    });
    await worker.ready(() => polls(metricsAddress), readyDeadlineMs);
  }

  #ended(pid: number, status: ExitStatus): void {
    this.#of.plan.processGone(pid, status.signal === 'SIGKILL');
    if (this.#stopping) return;
    this.#of.onDeath({ pid, ...status });
    // As an orchestrator does; one that cannot come up again is seen by whoever waits for its work.
    this.start().catch(() => undefined);
  }
}

/** Passes when the worker polls its queues. */
async function polls(metricsAddress: string): Promise<void> {
  const answer = await fetch(`http://${metricsAddress}/metrics`, { signal: AbortSignal.timeout(2000) });
  if (!(await answer.text()).includes('temporal_num_pollers')) throw new Error('it does not poll yet');
}
