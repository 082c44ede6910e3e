import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { acquireLock } from './locks.ts';
import { cacheDir } from './paths.ts';
import { boundToParent } from './process.ts';

/** Receives one line of progress. */
export type Log = (line: string) => void;

const PROGRESS_EVERY_MS = 10_000;
const INSTALL_DEADLINE_MS = 30 * 60_000;
const ERROR_TAIL_CHARS = 1_500;

/** Seconds since a performance.now() mark, as text. */
export function elapsed(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
}

/**
 * Runs a command to its end.
 * @returns what it printed to stdout.
 * @throws Error with the end of its output when it fails, or after deadlineMs.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; deadlineMs: number; uid?: number; gid?: number },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const { deadlineMs, ...rest } = options;
    const line = boundToParent({ command, args }, 'KILL') ?? { command, args };
    const child = spawn(line.command, [...line.args], {
      ...rest,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
    });
    let out = '';
    let all = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      all = (all + chunk.toString()).slice(-ERROR_TAIL_CHARS);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      all = (all + chunk.toString()).slice(-ERROR_TAIL_CHARS);
    });
    child.once('error', (error) => reject(new Error(`${command}: ${error.message}`)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${command} ended with ${code ?? signal}: ${all.trim()}`));
    });
  });
}

/** Repeats a progress line every ten seconds while the work runs. */
export async function withProgress<T>(log: Log, what: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  log(what);
  const timer = setInterval(() => log(`${what}: still at it after ${elapsed(startedAt)}`), PROGRESS_EVERY_MS);
  try {
    const result = await work();
    log(`${what}: done in ${elapsed(startedAt)}`);
    return result;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Fills one folder of the cache, once: the work fills a folder beside it, which is renamed when it is complete. A
 * second process that wants the same waits for the first; what a killed one left is removed.
 * @param folder name inside the cache, with the version in it.
 * @param fill gets the folder to fill (mode 0755) and one for scratch files; both exist and are empty.
 * @returns the folder's path.
 * @throws whatever fill throws; then nothing is left behind.
 */
export async function installOnce(
  folder: string,
  log: Log,
  fill: (target: string, scratch: string) => Promise<void>,
): Promise<string> {
  const target = path.join(cacheDir(), folder);
  if (existsSync(target)) return target;
  mkdirSync(cacheDir(), { recursive: true });
  const lock = await acquireLock(path.join(cacheDir(), '.locks', folder), {
    purpose: `install ${folder}`,
    deadlineMs: INSTALL_DEADLINE_MS,
    onWait: (holder) => log(`${folder}: process ${holder.pid} is installing it, waiting`),
  });
  const fresh = path.join(cacheDir(), `.${folder}.new`);
  const scratch = path.join(cacheDir(), `.${folder}.scratch`);
  const clear = (): void => {
    for (const dir of [fresh, scratch]) rmSync(dir, { recursive: true, force: true });
  };
  try {
    if (existsSync(target)) return target;
    clear();
    for (const dir of [fresh, scratch]) mkdirSync(dir);
    chmodSync(fresh, 0o755);
    await fill(fresh, scratch);
    renameSync(fresh, target);
    return target;
  } finally {
    clear();
    lock.release();
  }
}
