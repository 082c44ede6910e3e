import type { NodeTask } from '../../contracts/nodes/node-task.api.ts';
import { monotonicMs } from './clock.ts';
import type { Counters } from './counters.ts';
import { describeError, permanent, TaskFailure, transient } from './failure.ts';
import type { FinishedTask, Journal } from './journal.ts';
import type { Logger } from './log.ts';
import type { TaskReport } from './protocol/client.ts';
import type { AllocationRecords } from './records.ts';
import type { Reporter } from './reporter.ts';
import type { NodeRuntime } from './runtime/runtime.ts';
import type { Fault, FaultSource } from './runtime/simulated/faults.ts';
import { executeTask } from './tasks/index.ts';
import type { TaskTraces } from './traces.ts';
import { Waker } from './waker.ts';

/** Why a task is stopped before its end. */
type StopReason = 'superseded' | 'cancelled' | 'stopping';

interface Live {
  readonly task: NodeTask;
  /** On the monotonic clock, milliseconds. */
  readonly expiresAtMs: number;
  readonly controller: AbortController;
  stopped: StopReason | undefined;
  /** False when the API is not to be told any more that this is being worked on. */
  named: boolean;
  done: Promise<void>;
}

export interface RunnerParts {
  readonly runtime: NodeRuntime;
  readonly records: AllocationRecords;
  readonly journal: Journal;
  readonly reporter: Reporter;
  readonly log: Logger;
  readonly counters: Counters;
  readonly faults: FaultSource | undefined;
  readonly traces: TaskTraces;
}

const FOREVER_MS = 2 ** 31 - 1;
const LATE_MS = 5000;
/** Lane of the tasks that belong to no allocation. */
const NODE_LANE = 'node';

/**
 * Executes tasks: those of one allocation one at a time and in the order of their fences, those of different allocations
 * side by side. From acceptance until its report is decided on a task is live, and named in the polls.
 */
export class TaskRunner {
  /** Woken whenever a task is no longer live. */
  readonly changed = new Waker();
  private readonly parts: RunnerParts;
  private readonly live = new Map<string, Live>();
  private readonly lanes = new Map<string, Promise<void>>();
  private readonly ignored = new Set<string>();

  constructor(parts: RunnerParts) {
    this.parts = parts;
  }

  /** Ids of the tasks that are being worked on or reported. */
  named(): string[] {
    return [...this.live.values()].filter((live) => live.named).map((live) => live.task.task_id);
  }

  isLive(taskId: string): boolean {
    return this.live.has(taskId);
  }

  /** Resolves when no task is live any more. */
  async idle(): Promise<void> {
    while (this.live.size > 0) await Promise.all([...this.live.values()].map((live) => live.done));
  }

  /** Reports again what was not reported when the process ended. */
  resume(): void {
    for (const finished of this.parts.journal.unsettled()) void this.parts.reporter.report(finished);
  }

  /**
   * Takes a verified task.
   * @param expiresAtMs its end on the monotonic clock.
   * @returns false when there is nothing to do for it.
   */
  offer(task: NodeTask, expiresAtMs: number): boolean {
    const { journal, reporter, counters } = this.parts;
    if (this.live.has(task.task_id) || this.ignored.has(task.task_id)) return false;
    const finished = journal.find(task.task_id);
    if (finished !== undefined) {
      const news = !reporter.isPending(task.task_id);
      if (news) counters.replayed += 1;
      void reporter.report(finished);
      return news;
    }
    if (task.allocation_id !== null && task.fence < journal.fenceOf(task.allocation_id)) {
      return this.refuse(task, 'fenced');
    }
    if (monotonicMs() >= expiresAtMs) return this.refuse(task, 'expired');
    this.begin(task, expiresAtMs);
    return true;
  }

  /**
   * Stops a task; one that is being reported is only no longer named.
   * @returns false when there is nothing to stop.
   */
  cancel(taskId: string): boolean {
    const live = this.live.get(taskId);
    if (live === undefined || !live.named) return false;
    this.stopTask(live, 'cancelled');
    return true;
  }

  /** Gives running tasks `graceMs` to end, then stops them; they will be offered again. */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const live of this.live.values()) this.stopTask(live, 'stopping');
    }, graceMs);
    await this.idle();
    clearTimeout(timer);
  }

  private refuse(task: NodeTask, why: 'fenced' | 'expired'): false {
    this.parts.counters[why] += 1;
    this.parts.log.warn(`task_${why}`, fieldsOf(task));
    return false;
  }

  private stopTask(live: Live, reason: StopReason): void {
    live.stopped ??= reason;
    live.named = false;
    live.controller.abort();
  }

  private begin(task: NodeTask, expiresAtMs: number): void {
    const lane = task.allocation_id ?? NODE_LANE;
    for (const other of this.live.values()) {
      const same = task.allocation_id !== null && other.task.allocation_id === task.allocation_id;
      if (same && other.task.fence < task.fence) this.stopTask(other, 'superseded');
    }
    const { allocation_id: allocationId, fence } = task;
    const accepted =
      allocationId === null ? Promise.resolve() : this.parts.journal.accept(allocationId, fence);
    const before = this.lanes.get(lane) ?? Promise.resolve();
    const controller = new AbortController();
    const live: Live = {
      task,
      expiresAtMs,
      controller,
      stopped: undefined,
      named: true,
      done: Promise.resolve(),
    };
    const work = Promise.all([accepted, before]).then(() => this.work(live));
    // The lane is free as soon as the work has ended; its report may still be on its way.
    const free = work.then(
      () => undefined,
      () => undefined,
    );
    this.lanes.set(lane, free);
    live.done = work
      .then((deliver) => deliver?.())
      .catch((error: unknown) =>
        this.parts.log.error('task_lost', { ...fieldsOf(task), error: describeError(error) }),
      )
      .finally(() => {
        this.live.delete(task.task_id);
        if (this.lanes.get(lane) === free) this.lanes.delete(lane);
        this.changed.wake();
      });
    this.live.set(task.task_id, live);
  }

  /** @returns what delivers the report, or undefined when there is none. */
  private async work(live: Live): Promise<(() => Promise<void>) | undefined> {
    const { task } = live;
    const { faults, counters, log, journal } = this.parts;
    if (live.stopped === undefined && monotonicMs() >= live.expiresAtMs) {
      this.refuse(task, 'expired');
      return undefined;
    }
    const fault = live.stopped === undefined ? faults?.take(task.kind) : undefined;
    if (fault?.behaviour === 'never') {
      this.ignored.add(task.task_id);
      live.named = false;
      return undefined;
    }
    const begin = monotonicMs();
    log.info('task_started', fieldsOf(task));
    const span = this.parts.traces.start(task);
    const report = await this.perform(live, fault);
    const outcome = report?.outcome ?? live.stopped ?? 'none';
    const code = report?.outcome === 'failed' ? report.error.code : undefined;
    log.info('task_ended', {
      ...fieldsOf(task),
      outcome,
      code,
      duration_ms: Math.round(monotonicMs() - begin),
    });
    span.end(outcome);
    if (report === undefined) {
      if (live.stopped === 'superseded') counters.superseded += 1;
      return undefined;
    }
    if (report.outcome === 'cancelled') counters.cancelled += 1;
    else counters.executed += 1;
    const { traceparent } = span;
    const { task_id, allocation_id, correlation_id } = task;
    const finished = await journal.finish({ task_id, allocation_id, correlation_id, traceparent, report });
    return () => this.deliver(finished, fault);
  }

  /** @returns the report; undefined when the task was superseded or the agent stops: then nothing is reported. */
  private async perform(live: Live, fault: Fault | undefined): Promise<TaskReport | undefined> {
    const { task } = live;
    const { fence } = task;
    try {
      if (live.stopped !== undefined) throw live.controller.signal.reason;
      return { fence, outcome: 'succeeded', result: await this.execute(live, fault) };
    } catch (error) {
      if (live.stopped === 'cancelled') return { fence, outcome: 'cancelled' };
      if (live.stopped !== undefined) return undefined;
      const failure = error instanceof TaskFailure ? error : unexpected(error);
      const { code, message, retryable } = failure;
      if (!(error instanceof TaskFailure)) {
        this.parts.log.error('task_error', { ...fieldsOf(task), error: describeError(error) });
      }
      return { fence, outcome: 'failed', error: { code, message, retryable } };
    }
  }

  private async execute(live: Live, fault: Fault | undefined): Promise<Record<string, unknown>> {
    const { runtime, records, faults } = this.parts;
    const { task, controller } = live;
    const { signal } = controller;
    const context = { runtime, records, allocationId: task.allocation_id, signal };
    if (fault?.behaviour === 'fail') throw transient('fault_injected', 'a fault was asked for');
    if (fault?.behaviour === 'fail_permanent') throw permanent('fault_injected', 'a fault was asked for');
    if (fault?.behaviour === 'hang') await new Waker().wait(fault.delayMs ?? FOREVER_MS, signal);
    if (fault?.behaviour !== 'dirty' || faults === undefined) return executeTask(task, context);
    if (task.kind !== 'node.validate_clean') return soiled(await executeTask(task, context));
    const wash = await faults.soil(task.allocation_id);
    try {
      return await executeTask(task, context);
    } finally {
      await wash();
    }
  }

  private async deliver(finished: FinishedTask, fault: Fault | undefined): Promise<void> {
    const { reporter, journal } = this.parts;
    const { report } = finished;
    switch (fault?.behaviour) {
      case 'answer_late':
        await new Waker().wait(fault.delayMs ?? LATE_MS, this.live.get(finished.task_id)?.controller.signal);
        return reporter.report(finished);
      case 'wrong_fence':
        await reporter.send(finished, () => ({ ...report, fence: report.fence > 1 ? report.fence - 1 : 2 }));
        return journal.settle(finished.task_id);
      case 'rubbish':
        await reporter.sendText(finished, () => JSON.stringify({ outcome: 'rubbish', of: [1, 2, 3] }));
        return journal.settle(finished.task_id);
      case 'answer_twice':
        await reporter.report(finished);
        await reporter.send(finished, () => report);
        return undefined;
      default:
        return reporter.report(finished);
    }
  }
}

const fieldsOf = (task: NodeTask) => ({
  task_id: task.task_id,
  kind: task.kind,
  fence: task.fence,
  correlation_id: task.correlation_id,
});

const unexpected = (error: unknown): TaskFailure =>
  transient('agent_internal_error', `unexpected: ${describeError(error)}`.slice(0, 500));

/** The result of work that did not prove what it should. */
function soiled(result: Record<string, unknown>): Record<string, unknown> {
  if ('scrubbed' in result) return { ...result, scrubbed: false };
  return 'cleaned' in result ? { ...result, cleaned: false } : result;
}
