import { mkdir, open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { momentNow, type MonotonicMoment } from './clock.ts';
import { unlessMissing } from './failure.ts';
import type { TaskReport } from './protocol/client.ts';
import { parseJson } from './protocol/verify.ts';

/** A task that has ended here, with what is to be reported. */
export interface FinishedTask {
  readonly task_id: string;
  readonly allocation_id: string | null;
  readonly correlation_id: string;
  readonly traceparent: string | null;
  readonly report: TaskReport;
  /** When the report was made: ages in it grow from there. */
  readonly made: MonotonicMoment;
}

type Line =
  | { readonly t: 'accepted'; readonly allocation_id: string; readonly fence: number }
  | ({ readonly t: 'finished' } & FinishedTask)
  | { readonly t: 'settled'; readonly task_id: string };

interface Pending {
  readonly text: string;
  /** Takes the line back out of memory. */
  readonly undo: () => void;
  readonly sync: boolean;
  readonly done: (error?: Error) => void;
}

interface Kept {
  finished: FinishedTask;
  settled: boolean;
}

/** How many finished tasks and fences are remembered. */
const REMEMBERED = 10_000;
/** The file is rewritten when it has this many lines more than there is to remember. */
const SPARE_LINES = 20_000;

/**
 * What the agent must not forget: finished tasks (the seen-set), which of them are still to be reported, and the highest
 * fence of each allocation. One file of JSON lines, rewritten at start; a torn last line is a line that never was. A write
 * that fails may leave a piece of a line: nothing is added behind it, the file is rewritten first.
 */
export class Journal {
  private readonly file: string;
  private readonly remembered: number;
  private readonly finished = new Map<string, Kept>();
  private readonly fences = new Map<string, number>();
  private handle: FileHandle | undefined;
  private lines = 0;
  /** A write has failed since the file was last whole. */
  private torn = false;
  private queue: Pending[] = [];
  private flushing: Promise<void> | undefined;

  private constructor(file: string, remembered: number) {
    this.file = file;
    this.remembered = remembered;
  }

  /** Opens the journal of a folder, which is made when missing. */
  static async open(directory: string, remembered = REMEMBERED): Promise<Journal> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const journal = new Journal(path.join(directory, 'journal.jsonl'), remembered);
    for (const text of (await unlessMissing(readFile(journal.file, 'utf8'), '')).split('\n')) {
      const line = parseJson(text);
      if (isLine(line)) journal.apply(line);
    }
    await journal.rewrite();
    return journal;
  }

  /** The highest fence that was accepted for the allocation; 0 when none was. */
  fenceOf(allocationId: string): number {
    return this.fences.get(allocationId) ?? 0;
  }

  find(taskId: string): FinishedTask | undefined {
    return this.finished.get(taskId)?.finished;
  }

  /** Finished tasks whose report the API has not decided on. */
  unsettled(): FinishedTask[] {
    return [...this.finished.values()].filter((kept) => !kept.settled).map((kept) => kept.finished);
  }

  /** Notes the fence of a task that is being taken. Survives the death of the process. */
  async accept(allocationId: string, fence: number): Promise<void> {
    if (fence > this.fenceOf(allocationId))
      await this.append({ t: 'accepted', allocation_id: allocationId, fence }, false);
  }

  /** Stores how a task ended; on disk when this resolves. When it rejects it did not happen: the API offers the task again. */
  async finish(task: Omit<FinishedTask, 'made'>): Promise<FinishedTask> {
    const finished = { ...task, made: momentNow() };
    await this.append({ t: 'finished', ...finished }, true);
    return finished;
  }

  /** Notes that the API has decided on the report: it is not sent by itself again. */
  async settle(taskId: string): Promise<void> {
    await this.append({ t: 'settled', task_id: taskId }, false);
  }

  async close(): Promise<void> {
    await this.flushing;
    await this.handle?.close();
    this.handle = undefined;
  }

  private apply(line: Line): void {
    if (line.t === 'accepted') {
      this.fences.delete(line.allocation_id);
      this.fences.set(line.allocation_id, line.fence);
    } else if (line.t === 'finished') {
      const { t: _, ...finished } = line;
      this.finished.set(line.task_id, { finished, settled: false });
    } else {
      const kept = this.finished.get(line.task_id);
      if (kept !== undefined) kept.settled = true;
    }
    this.forgetOldest();
  }

  private forgetOldest(): void {
    for (const [taskId, kept] of this.finished) {
      if (this.finished.size <= this.remembered) break;
      if (kept.settled) this.finished.delete(taskId);
    }
    for (const allocationId of this.fences.keys()) {
      if (this.fences.size <= this.remembered) break;
      this.fences.delete(allocationId);
    }
  }

  /** Applies a line; what is returned takes it back, unless a later line has come in its place. */
  private applyFor(line: Line): () => void {
    if (line.t === 'accepted') {
      const before = this.fences.get(line.allocation_id);
      this.apply(line);
      return () => {
        if (this.fences.get(line.allocation_id) !== line.fence) return;
        if (before === undefined) this.fences.delete(line.allocation_id);
        else this.fences.set(line.allocation_id, before);
      };
    }
    this.apply(line);
    // That the API has decided stays known, whatever the disk says.
    return line.t === 'settled' ? () => undefined : () => void this.finished.delete(line.task_id);
  }

  private async append(line: Line, sync: boolean): Promise<void> {
    if (this.handle === undefined) throw new Error('the journal is closed');
    const undo = this.applyFor(line);
    await new Promise<void>((resolve, reject) => {
      this.queue.push({
        text: `${JSON.stringify(line)}\n`,
        undo,
        sync,
        done: (error) => (error === undefined ? resolve() : reject(error)),
      });
      this.flushing ??= this.flush();
    });
  }

  /** Writes what is waiting, all of it with one write and at most one sync, until nothing waits. */
  private async flush(): Promise<void> {
    while (this.queue.length > 0) {
      const batch = this.queue;
      this.queue = [];
      let failed: Error | undefined;
      try {
        const spare = this.lines - this.finished.size * 2 - this.fences.size;
        const whole = !this.torn && spare <= SPARE_LINES;
        this.torn = true;
        if (!whole) await this.rewrite();
        await this.handle?.appendFile(batch.map((entry) => entry.text).join(''));
        this.lines += batch.length;
        if (batch.some((entry) => entry.sync)) await this.handle?.datasync();
        this.torn = false;
      } catch (error) {
        failed = error instanceof Error ? error : new Error('the journal cannot be written');
      }
      // Before anything is rewritten: what was not acknowledged is not to be found in the file later.
      if (failed !== undefined) for (const entry of batch.reverse()) entry.undo();
      for (const entry of batch) entry.done(failed);
    }
    this.flushing = undefined;
  }

  /** Replaces the file by what is remembered. */
  private async rewrite(): Promise<void> {
    const lines: Line[] = [...this.fences].map(([id, fence]) => ({
      t: 'accepted',
      allocation_id: id,
      fence,
    }));
    for (const { finished, settled } of this.finished.values()) {
      lines.push({ t: 'finished', ...finished });
      if (settled) lines.push({ t: 'settled', task_id: finished.task_id });
    }
    const next = await open(`${this.file}.new`, 'w', 0o600);
    try {
      await next.writeFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      // An empty one holds nothing that could be lost.
      if (lines.length > 0) await next.datasync();
      await rename(`${this.file}.new`, this.file);
      // The name is the folder's: without this the file of before may be there after the machine has lost its power.
      if (lines.length > 0) await syncFolder(path.dirname(this.file));
    } catch (error) {
      await next.close();
      // On a full file system the space it holds may be what is missing.
      await rm(`${this.file}.new`, { force: true });
      throw error;
    }
    const before = this.handle;
    this.handle = next;
    this.lines = lines.length;
    await before?.close();
  }
}

async function syncFolder(directory: string): Promise<void> {
  const folder = await open(directory, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Lines are this agent's own: the tag and the id tell a whole one from a torn one. */
function isLine(value: unknown): value is Line {
  if (typeof value !== 'object' || value === null || !('t' in value)) return false;
  if (value.t === 'accepted')
    return 'allocation_id' in value && 'fence' in value && typeof value.fence === 'number';
  if (value.t === 'finished') return 'task_id' in value && 'report' in value && 'made' in value;
  return value.t === 'settled' && 'task_id' in value;
}
