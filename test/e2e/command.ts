/** One of the product's foreground commands as a child process, with every process that it ever started. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { descendantsOf, isSameProcess, startTimeOf } from '../../workers/local/process-table.ts';
import { boundToParent, waitUntil } from '../../workers/local/process.ts';
import { checkoutRoot } from '../../workers/local/stack-config.ts';

const sampleEveryMs = 100;
const goneDeadlineMs = 15_000;
const outputTailChars = 4000;

/** A running command. Everything that it prints is kept. */
export class Command {
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #pid: number;
  readonly #seen = new Map<number, string>();
  readonly #sampler: NodeJS.Timeout;
  #output = '';
  #over = false;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.#pid = pid;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => void (this.#output += chunk.toString()));
    this.#sampler = setInterval(() => this.#sample(), sampleEveryMs);
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => {
        this.#over = true;
        clearInterval(this.#sampler);
        resolve(code);
      });
    });
  }

  /**
   * Starts an entry file as `npm run` does.
   * @param env added to this process's own.
   */
  static start(entry: string, args: readonly string[], env: Readonly<Record<string, string>>): Command {
    const bootstrap = path.join(checkoutRoot, 'workers/local/bootstrap.mjs');
    const line = { command: process.execPath, args: [bootstrap, path.join(checkoutRoot, entry), ...args] };
    const bound = boundToParent(line, 'INT') ?? line;
    const child = spawn(bound.command, [...bound.args], {
      cwd: checkoutRoot,
      // A group of its own, as a terminal gives it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    if (child.pid === undefined) throw new Error(`${entry} could not be started`);
    return new Command(child, child.pid);
  }

  get output(): string {
    return this.#output;
  }

  /** How many processes it was seen to start. */
  get familySize(): number {
    return this.#seen.size;
  }

  /** Waits until it has printed this. @throws Error when it ends first, or after deadlineMs. */
  async printed(text: string, deadlineMs: number): Promise<void> {
    const tail = (what: string): string => `${what} '${text}':\n${this.#output.slice(-outputTailChars)}`;
    await waitUntil(
      () => {
        if (this.#output.includes(text)) return true;
        if (this.#over) throw new Error(tail('it ended without printing'));
        return false;
      },
      { deadlineMs, onTimeout: () => tail(`in ${deadlineMs} ms it did not print`) },
    );
  }

  /** SIGKILL to what it has started with this in its command line. @returns how many processes that were. */
  killChild(saying: string): number {
    const meant = descendantsOf(this.#pid).filter((pid) => commandLineOf(pid).includes(saying));
    for (const pid of meant) process.kill(pid, 'SIGKILL');
    return meant.length;
  }

  /** Ctrl-C in a terminal: to every process of the group. */
  interrupt(): void {
    process.kill(-this.#pid, 'SIGINT');
  }

  /** Those of its processes that still run, of all that it ever had. */
  survivors(): number[] {
    return [...this.#seen].filter(([pid, startTime]) => isSameProcess(pid, startTime)).map(([pid]) => pid);
  }

  /** Waits for its end and that of all its processes. @returns the exit code. @throws Error naming who is left. */
  async gone(deadlineMs: number): Promise<number | null> {
    await waitUntil(() => this.#over, {
      deadlineMs,
      onTimeout: () => `it still runs after ${deadlineMs} ms:\n${this.#output.slice(-outputTailChars)}`,
    });
    await waitUntil(() => this.survivors().length === 0, {
      deadlineMs: goneDeadlineMs,
      onTimeout: () => `processes ${this.survivors().join(', ')} are left`,
    });
    return this.ended;
  }

  /** For the end of a test: nothing of it is left, whatever happened. */
  async destroy(): Promise<void> {
    this.#sample();
    if (!this.#over) this.#child.kill('SIGKILL');
    await this.ended;
    for (const pid of this.survivors()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
  }

  #sample(): void {
    for (const pid of [this.#pid, ...descendantsOf(this.#pid)]) {
      if (this.#seen.has(pid)) continue;
      const startTime = startTimeOf(pid);
      if (startTime !== undefined) this.#seen.set(pid, startTime);
    }
  }
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
