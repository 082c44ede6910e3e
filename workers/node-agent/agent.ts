import type { KeyObject } from 'node:crypto';
import { monotonicMs } from './clock.ts';
import { newCounters, type Counters } from './counters.ts';
import { describeError } from './failure.ts';
import { Journal } from './journal.ts';
import type { Logger } from './log.ts';
import { backoffMs } from './protocol/backoff.ts';
import { ApiUnavailable, type TaskBatch, type TaskClient } from './protocol/client.ts';
import { openTask } from './protocol/verify.ts';
import { AllocationRecords } from './records.ts';
import { Reporter } from './reporter.ts';
import { TaskRunner } from './runner.ts';
import type { NodeRuntime } from './runtime/runtime.ts';
import type { FaultSource } from './runtime/simulated/faults.ts';
import { TaskTraces } from './traces.ts';
import { Waker } from './waker.ts';

export interface AgentOptions {
  readonly nodeId: string;
  readonly client: TaskClient;
  /** Ed25519 public key that tasks must be signed for. */
  readonly verifyKey: KeyObject;
  readonly runtime: NodeRuntime;
  /** Folder of the journal and the records; made when missing. */
  readonly stateDirectory: string;
  /** How long the API may hold a poll while nothing runs. */
  readonly holdSeconds: number;
  readonly log: Logger;
  /** Where spans of tasks go; without it nothing is traced. */
  readonly traces?: TaskTraces;
  /** Only for simulated nodes. */
  readonly faults?: FaultSource | undefined;
}

/** While something runs every poll is its heartbeat. */
const BUSY_HOLD_SECONDS = 2;
/** Quick tasks are waited for before the next poll: most never need to be named in one. */
const SETTLE_MS = 15;
/** An empty answer that comes sooner is not a hold that ended. */
const EARLY_MS = 100;

/** How a stop is divided; together less than the five seconds that a service manager gives. */
const STOP_TASKS_MS = 2000;
const STOP_REPORTS_MS = 1000;

/**
 * One node's agent: polls for signed tasks, has them executed and reports how they ended.
 *
 * States: new → polling ⇄ backing off → stopping → stopped. One poll is in flight at a time, reports travel beside it.
 */
export class NodeAgent {
  readonly counters: Counters = newCounters();
  private readonly options: AgentOptions;
  private readonly traces: TaskTraces;
  private readonly stopping = new AbortController();
  private readonly pause = new Waker();
  private parts: { journal: Journal; reporter: Reporter; runner: TaskRunner } | undefined;
  private loop: Promise<void> | undefined;
  private stopped: Promise<void> | undefined;

  constructor(options: AgentOptions) {
    this.options = options;
    this.traces = options.traces ?? new TaskTraces(undefined, options.nodeId);
  }

  /** Opens the journal, reports what an earlier process left unreported and begins to poll. */
  async start(): Promise<void> {
    const { client, log, runtime, stateDirectory, faults } = this.options;
    const { counters, traces } = this;
    const journal = await Journal.open(stateDirectory);
    const records = new AllocationRecords(stateDirectory);
    await records.prepare();
    const reporter = new Reporter({ client, journal, log, counters });
    const runner = new TaskRunner({ runtime, records, journal, reporter, log, counters, faults, traces });
    this.parts = { journal, reporter, runner };
    log.info('agent_started', { mode: runtime.mode, unreported: journal.unsettled().length });
    runner.resume();
    this.loop = this.poll(runner, reporter);
  }

  /**
   * Ends within five seconds: running tasks may finish for a while and are then stopped, reports go out as far as the API
   * takes them; the rest is in the journal.
   */
  stop(): Promise<void> {
    this.stopped ??= this.end();
    return this.stopped;
  }

  private async end(): Promise<void> {
    this.stopping.abort();
    await this.loop;
    if (this.parts === undefined) return;
    const { runner, reporter, journal } = this.parts;
    const reports = setTimeout(() => void reporter.stop(0), STOP_TASKS_MS + STOP_REPORTS_MS);
    await runner.stop(STOP_TASKS_MS);
    await reporter.stop(STOP_REPORTS_MS);
    clearTimeout(reports);
    await journal.close();
    await this.traces.stop();
    this.options.log.info('agent_stopped', { ...this.counters });
  }

  private async poll(runner: TaskRunner, reporter: Reporter): Promise<void> {
    const { signal } = this.stopping;
    let failures = 0;
    let fruitless = 0;
    while (!signal.aborted) {
      const named = runner.named();
      const asked = monotonicMs();
      let batch: TaskBatch;
      try {
        const hold =
          named.length > 0 ? Math.min(BUSY_HOLD_SECONDS, this.options.holdSeconds) : this.options.holdSeconds;
        batch = await this.options.client.waitForTasks(named, hold, signal);
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        this.logFailure(failures, error);
        await this.pause.wait(backoffMs(failures), signal);
        continue;
      }
      if (failures > 0) {
        this.options.log.info('api_back', { failures });
        reporter.kick();
      }
      failures = 0;
      const fruitful = this.take(batch, named, runner);
      const empty = batch.tasks.length === 0 && batch.cancel.length === 0;
      if (fruitful || (empty && monotonicMs() - asked >= EARLY_MS)) fruitless = 0;
      else fruitless += 1;
      if (fruitless > 0) await runner.changed.wait(backoffMs(fruitless), signal);
      else if (!empty) await this.settle(runner);
    }
  }

  /** @returns true when the answer led to anything. */
  private take(batch: TaskBatch, named: readonly string[], runner: TaskRunner): boolean {
    const receivedMs = monotonicMs();
    let fruitful = false;
    for (const raw of batch.tasks) {
      const task = openTask(raw, this.options.verifyKey, this.options.nodeId);
      if (typeof task === 'string') {
        this.counters.rubbish += 1;
        this.options.log.warn('task_rubbish', { reason: task });
        continue;
      }
      // The wall clock of this machine has no say: what is left is measured from the answer.
      const leftMs = Date.parse(task.expires_at) - batch.serverTimeMs;
      fruitful = runner.offer(task, receivedMs + leftMs) || fruitful;
    }
    // After the tasks: a newer task stops an older one in silence, a cancellation has it report.
    for (const taskId of batch.cancel) {
      const over = named.includes(taskId) && !runner.isLive(taskId);
      fruitful = runner.cancel(taskId) || over || fruitful;
    }
    return fruitful;
  }

  private async settle(runner: TaskRunner): Promise<void> {
    const timer = new AbortController();
    await Promise.race([runner.idle(), this.pause.wait(SETTLE_MS, timer.signal)]);
    timer.abort();
  }

  private logFailure(failures: number, error: unknown): void {
    this.counters.pollErrors += 1;
    if ((failures & (failures - 1)) !== 0) return;
    const what = error instanceof ApiUnavailable ? error.message : describeError(error);
    this.options.log.warn('poll_failed', { attempt: failures, error: what });
  }
}
