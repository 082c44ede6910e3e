import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceUser } from './paths.ts';
import { descendantsOf, isAlive } from './process-table.ts';

const LOG_ROTATE_BYTES = 20_000_000;
const LOG_TAIL_LINES = 15;
const POLL_MS = 25;
const KILL_DEADLINE_MS = 10_000;

/** How a server is started. */
export interface SpawnSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to a minimal environment (PATH, HOME, TMPDIR, LANG, TZ): nothing of ours leaks into a server. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly user?: ServiceUser | undefined;
  /** Output is appended here; above 20 MB the old file is kept once as `.1`. */
  readonly logFile: string;
  /** What the kernel sends to the server when this process dies, however it dies. */
  readonly deathSignal: 'KILL' | 'INT';
}

/** How a process ended: exactly one of the two is set. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

function findSetpriv(): string | undefined {
  const dirs = (process.env['PATH'] ?? '').split(path.delimiter);
  return dirs.map((dir) => path.join(dir, 'setpriv')).find((file) => existsSync(file));
}

/** A command and its arguments. */
export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
}

/**
 * The command line that ends with this process, however it ends; undefined where there is no setpriv. The
 * parent-death signal is set after the account was changed (changing it would clear the signal), then the shell
 * compares its parent with ours: if we died before the signal was armed, the command never starts. The kernel ties
 * the signal to the calling thread, so this is for the main thread only.
 */
export function boundToParent(line: CommandLine, signal: 'KILL' | 'INT'): CommandLine | undefined {
  const setpriv = findSetpriv();
  if (!setpriv) return undefined;
  const guard = '[ "$PPID" = "$0" ] || exit 125; exec "$@"';
  const args = ['--pdeathsig', signal, '--', '/bin/sh', '-c', guard, String(process.pid)];
  return { command: setpriv, args: [...args, line.command, ...line.args] };
}

/** Where there is no setpriv: a shell that reads a pipe of ours, and ends the server when the pipe closes. */
function watchForParentDeath(pid: number, signal: string): ChildProcess {
  const script = `trap '' INT TERM HUP; read -r _; kill -${signal} "$0"`;
  const watcher = spawn('/bin/sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watcher.unref();
  return watcher;
}

function openLog(file: string): number {
  mkdirSync(path.dirname(file), { recursive: true });
  if (existsSync(file) && statSync(file).size > LOG_ROTATE_BYTES) renameSync(file, `${file}.1`);
  return openSync(file, 'a', 0o640);
}

function minimalEnvironment(): Record<string, string> {
  const kept: Record<string, string> = { LANG: 'C.UTF-8', TZ: 'UTC' };
  for (const name of ['PATH', 'HOME', 'TMPDIR']) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/**
 * Waits until a check holds.
 * @throws Error with the text of onTimeout after deadlineMs.
 */
export async function waitUntil(
  check: () => boolean | Promise<boolean>,
  options: { deadlineMs: number; pollMs?: number; onTimeout: () => string },
): Promise<void> {
  const until = performance.now() + options.deadlineMs;
  while (!(await check())) {
    if (performance.now() > until) throw new Error(options.onTimeout());
    await delay(options.pollMs ?? POLL_MS);
  }
}

/** One running server that this process started. */
export class ManagedProcess {
  readonly pid: number;
  /** Settles when the process has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  private readonly spec: SpawnSpec;
  private readonly child: ChildProcess;
  private ended = false;

  private constructor(spec: SpawnSpec, child: ChildProcess, pid: number, watcher: ChildProcess | undefined) {
    this.spec = spec;
    this.child = child;
    this.pid = pid;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.ended = true;
        watcher?.kill('SIGKILL');
        resolve({ code, signal });
      });
    });
  }

  /**
   * Starts the server in a session of its own: Ctrl-C in a terminal reaches the launcher only, which stops
   * the parts in order. Must be called on the main thread.
   * @throws Error when the command cannot be started.
   */
  static async start(spec: SpawnSpec): Promise<ManagedProcess> {
    const bound = boundToParent(spec, spec.deathSignal);
    const line = bound ?? spec;
    const log = openLog(spec.logFile);
    try {
      const child = spawn(line.command, [...line.args], {
        stdio: ['ignore', log, log],
        detached: true,
        env: { ...minimalEnvironment(), ...spec.env },
        ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
        ...(spec.user === undefined ? {} : { uid: spec.user.uid, gid: spec.user.gid }),
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (error) => reject(new Error(`${spec.name}: cannot start: ${error.message}`)));
      });
      if (child.pid === undefined) throw new Error(`${spec.name}: started without a process id`);
      const watcher = bound ? undefined : watchForParentDeath(child.pid, spec.deathSignal);
      child.unref();
      return new ManagedProcess(spec, child, child.pid, watcher);
    } finally {
      closeSync(log);
    }
  }

  isRunning(): boolean {
    return !this.ended;
  }

  /** The last lines of the log, for an error text. */
  logTail(): string {
    try {
      const lines = readFileSync(this.spec.logFile, 'utf8').trimEnd().split('\n');
      return lines.slice(-LOG_TAIL_LINES).join('\n');
    } catch {
      return '';
    }
  }

  /**
   * Runs the probe until it passes.
   * @throws Error when the process ends first, or the deadline passes: with the log's last lines.
   */
  async ready(probe: () => Promise<void>, deadlineMs: number): Promise<void> {
    let last = 'not probed';
    const report = (what: string): string =>
      `${this.spec.name}: ${what} (${last}); log ${this.spec.logFile} ends:\n${this.logTail()}`;
    await waitUntil(
      async () => {
        if (this.ended) throw new Error(report('ended while starting'));
        try {
          await probe();
          return true;
        } catch (error) {
          last = error instanceof Error ? error.message : String(error);
          return false;
        }
      },
      { deadlineMs, onTimeout: () => report(`not ready after ${deadlineMs} ms`) },
    );
  }

  /** Asks the server to end, and kills it after graceMs. Resolves when it and all below it are gone. */
  async stop(signal: NodeJS.Signals, graceMs: number): Promise<void> {
    if (this.ended) return;
    this.child.ref(); // while somebody waits for the end, Node must not leave
    process.kill(this.pid, signal);
    const timer = new AbortController();
    const late = delay(graceMs, 'late' as const, { signal: timer.signal }).catch(() => 'ended' as const);
    const outcome = await Promise.race([this.exited, late]);
    timer.abort();
    if (outcome === 'late') await this.kill();
  }

  /** SIGKILL to the server and everything below it. Resolves when all of them are gone. */
  async kill(): Promise<void> {
    if (this.ended) return;
    this.child.ref();
    const family = descendantsOf(this.pid);
    for (const pid of [this.pid, ...family]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // gone already
      }
    }
    await this.exited;
    await waitUntil(() => family.every((pid) => !isAlive(pid)), {
      deadlineMs: KILL_DEADLINE_MS,
      onTimeout: () => `${this.spec.name}: processes below ${this.pid} outlived SIGKILL`,
    });
  }
}
