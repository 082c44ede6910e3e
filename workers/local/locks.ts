import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isSameProcess, startTimeOf } from './process-table.ts';

/** A held lock. It also counts as free once its process is gone, so a kill -9 leaves nothing to clean. */
export interface Lock {
  release(): void;
}

/** Who holds a lock: the process and what it said it does. */
export interface LockHolder {
  readonly pid: number;
  readonly startTime: string;
  readonly purpose: string;
}

const POLL_MS = 100;

function readHolder(file: string): LockHolder | undefined {
  try {
    const [pid, startTime = '', purpose = ''] = readFileSync(file, 'utf8').split('\n');
    return { pid: Number(pid), startTime, purpose };
  } catch {
    return undefined;
  }
}

function isGone(holder: LockHolder): boolean {
  return !isSameProcess(holder.pid, holder.startTime);
}

function linkOnce(source: string, file: string): boolean {
  try {
    linkSync(source, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes a dead process's lock out of the way; puts it back when somebody else renewed it in between. */
function removeStale(file: string, stale: LockHolder): void {
  const aside = `${file}.${randomUUID()}`;
  try {
    renameSync(file, aside);
  } catch {
    return; // another process was faster
  }
  const moved = readHolder(aside);
  if (moved && (moved.pid !== stale.pid || moved.startTime !== stale.startTime)) linkOnce(aside, file);
  rmSync(aside, { force: true });
}

/**
 * Takes the lock file, or says who holds it. A lock whose process is gone is taken over.
 * @param purpose a few words for whoever finds it taken.
 */
export function tryLock(file: string, purpose: string): Lock | LockHolder {
  mkdirSync(path.dirname(file), { recursive: true });
  const own = `${file}.${randomUUID()}`;
  writeFileSync(own, `${process.pid}\n${startTimeOf(process.pid) ?? ''}\n${purpose}`);
  try {
    for (;;) {
      if (linkOnce(own, file)) return { release: () => rmSync(file, { force: true }) };
      const holder = readHolder(file);
      if (!holder) continue; // released between the two calls
      if (!isGone(holder)) return holder;
      removeStale(file, holder);
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** True when a lock file exists and its process lives. */
export function isLocked(file: string): boolean {
  const holder = readHolder(file);
  return holder !== undefined && !isGone(holder);
}

/**
 * Waits for the lock.
 * @param onWait called once, with the holder, when it is not free at once.
 * @throws Error naming the holder after deadlineMs.
 */
export async function acquireLock(
  file: string,
  options: { purpose: string; deadlineMs: number; onWait?: (holder: LockHolder) => void },
): Promise<Lock> {
  const until = performance.now() + options.deadlineMs;
  let told = false;
  for (;;) {
    const outcome = tryLock(file, options.purpose);
    if ('release' in outcome) return outcome;
    if (!told) options.onWait?.(outcome);
    told = true;
    if (performance.now() > until)
      throw new Error(`${file} is held by process ${outcome.pid} (${outcome.purpose})`);
    await delay(POLL_MS);
  }
}
