import { maxStoppedAgeSeconds } from '../../contracts/nodes/node-task.api.ts';
import { secondsSince } from './clock.ts';
import type { Counters } from './counters.ts';
import { describeError } from './failure.ts';
import type { FinishedTask, Journal } from './journal.ts';
import type { Logger } from './log.ts';
import { backoffMs } from './protocol/backoff.ts';
import type { Receipt, TaskClient, TaskReport } from './protocol/client.ts';
import { Waker } from './waker.ts';

interface ReporterParts {
  readonly client: TaskClient;
  readonly journal: Journal;
  readonly log: Logger;
  readonly counters: Counters;
}

/** What a report is sent under. */
type Subject = Pick<FinishedTask, 'task_id' | 'correlation_id' | 'traceparent'>;

const rejectedReport = (fence: number): TaskReport => ({
  fence,
  outcome: 'failed',
  error: {
    code: 'result_rejected',
    message: 'the API does not accept the result of the task',
    retryable: false,
  },
});

/** Brings reports of the journal to the API, each until it is decided on. */
export class Reporter {
  private readonly parts: ReporterParts;
  private readonly pending = new Map<string, Promise<void>>();
  private readonly retry = new Waker();
  private readonly stopping = new AbortController();

  constructor(parts: ReporterParts) {
    this.parts = parts;
  }

  isPending(taskId: string): boolean {
    return this.pending.has(taskId);
  }

  /** Sends the report until the API has decided; resolves then, or when the agent stops. Never rejects. */
  report(finished: FinishedTask): Promise<void> {
    const already = this.pending.get(finished.task_id);
    if (already !== undefined) {
      this.kick();
      return already;
    }
    const delivery = this.deliver(finished).finally(() => this.pending.delete(finished.task_id));
    this.pending.set(finished.task_id, delivery);
    return delivery;
  }

  /**
   * Sends a report, made anew each time, until the API has decided.
   * @returns what it decided, or undefined when the agent stops first.
   */
  send(subject: Subject, report: () => TaskReport): Promise<Receipt | undefined> {
    return this.sendText(subject, () => JSON.stringify(report()));
  }

  /** As `send`, with a body that need not be a report. */
  async sendText(subject: Subject, text: () => string): Promise<Receipt | undefined> {
    const { signal } = this.stopping;
    const task = {
      taskId: subject.task_id,
      correlationId: subject.correlation_id,
      traceparent: subject.traceparent,
    };
    for (let failures = 0; !signal.aborted;) {
      try {
        return await this.parts.client.postText(task, text(), signal);
      } catch (error) {
        if (signal.aborted) break;
        failures += 1;
        this.parts.counters.postErrors += 1;
        this.logFailure(subject, failures, error);
        await this.retry.wait(backoffMs(failures), signal);
      }
    }
    return undefined;
  }

  /** The API is there again: whoever waits tries now. */
  kick(): void {
    this.retry.wake();
  }

  /** Gives every delivery `graceMs` to end, then ends it; what is not delivered stays in the journal. */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.stopping.abort(), graceMs);
    await Promise.all(this.pending.values());
    clearTimeout(timer);
    this.stopping.abort();
  }

  private async deliver(finished: FinishedTask): Promise<void> {
    const { counters, journal, log } = this.parts;
    const fields = { task_id: finished.task_id, correlation_id: finished.correlation_id };
    let receipt = await this.send(finished, () => withAges(finished));
    if (receipt === 'rejected') {
      log.error('report_rejected', fields);
      receipt = await this.send(finished, () => rejectedReport(finished.report.fence));
    }
    if (receipt === undefined) return;
    if (receipt === 'stored') counters.reportsStored += 1;
    else {
      counters.reportsDropped += 1;
      log.warn('report_dropped', { ...fields, receipt });
    }
    try {
      await journal.settle(finished.task_id);
    } catch (error) {
      log.error('journal_failed', { ...fields, error: describeError(error) });
    }
  }

  private logFailure(subject: Subject, failures: number, error: unknown): void {
    if ((failures & (failures - 1)) !== 0) return;
    this.parts.log.warn('report_failed', {
      task_id: subject.task_id,
      correlation_id: subject.correlation_id,
      attempt: failures,
      error: error instanceof Error ? error.message : describeError(error),
    });
  }
}

/** Ages are true when they are sent, not when they were taken. */
function withAges(finished: FinishedTask): TaskReport {
  const { report, made } = finished;
  if (report.outcome !== 'succeeded') return report;
  const age = report.result['stopped_age_seconds'];
  if (typeof age !== 'number') return report;
  const grown = Math.min(age + secondsSince(made), maxStoppedAgeSeconds);
  return { ...report, result: { ...report.result, stopped_age_seconds: grown } };
}
