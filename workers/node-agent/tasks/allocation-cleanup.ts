import { lstat, readdir, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { momentNow, monotonicMs, secondsSince } from '../clock.ts';
import { permanent, transient, unlessMissing } from '../failure.ts';
import { homeOf, isWithin } from '../runtime/areas.ts';
import type { NodeRuntime } from '../runtime/runtime.ts';
import { removeTree } from '../runtime/trees.ts';
import { removeKeys } from './home.ts';
import type { ParamsOf, ResultOf, TaskContext, TaskHandler } from './task.ts';

type Params = ParamsOf<'node.allocation_cleanup'>;

const LOOK_EVERY_MS = 20;
/** How long a process may take to end after SIGKILL. */
const KILL_DEADLINE_MS = 5000;
/** Folders that everybody may write to. */
const sharedFolders = ['/tmp', '/var/tmp', '/dev/shm', '/run/lock'] as const;

/** Ends the tenant's work and takes the tenant's access away: keys, processes, home, user, group. */
export const allocationCleanup: TaskHandler<'node.allocation_cleanup'> = async (
  params,
  context,
): Promise<ResultOf<'node.allocation_cleanup'>> => {
  const { runtime, records, signal } = context;
  const { allocation_id, username, uid } = params;
  await checkIdentity(runtime, params);
  const record = (await records.read(allocation_id)) ?? { allocation_id, username, uid, gpu_slots: [] };
  // First of all: from here on nobody comes in any more.
  await removeKeys(runtime, username);
  await runtime.identities.lockUser(username);
  const ended = await endProcesses(runtime, uid, signal);
  const stopped = ended === 0 && record.stopped !== undefined ? record.stopped : momentNow();
  await records.write({ ...record, stopped });
  await removeLeftovers(params, context);
  await runtime.identities.removeUser(username);
  await runtime.identities.removeGroup(username);
  return {
    task_type: 'node.allocation_cleanup',
    allocation_id,
    stopped_age_seconds: secondsSince(stopped),
    processes_ended: ended,
    user_removed: !(await runtime.identities.users()).some((user) => user.username === username),
  };
};

/** A name or number that belongs to somebody else is never touched. */
async function checkIdentity(runtime: NodeRuntime, params: Params): Promise<void> {
  const users = await runtime.identities.users();
  const strange = users.some((user) => (user.username === params.username) !== (user.uid === params.uid));
  if (strange)
    throw permanent('posix_identity_conflict', 'the name or the number belongs to another user of the node');
}

/**
 * Ends every process of the user, TERM first, and looks until none is left: a process may start others while it dies.
 * @returns how many ended.
 * @throws TaskFailure `processes_survived` when SIGKILL did not help in time.
 */
async function endProcesses(runtime: NodeRuntime, uid: number, signal: AbortSignal): Promise<number> {
  const { processes } = runtime;
  const seen = new Set<number>();
  const terminated = new Set<number>();
  const begin = monotonicMs();
  for (;;) {
    const alive = await processes.ofUser(uid);
    if (alive.length === 0) return seen.size;
    signal.throwIfAborted();
    const ageMs = monotonicMs() - begin;
    if (ageMs > processes.termGraceMs + KILL_DEADLINE_MS) {
      throw transient('processes_survived', `${alive.length} processes did not end`);
    }
    for (const pid of alive) {
      seen.add(pid);
      if (ageMs >= processes.termGraceMs && terminated.has(pid)) await processes.signal(pid, 'SIGKILL');
      else if (!terminated.has(pid)) await processes.signal(pid, 'SIGTERM');
      terminated.add(pid);
    }
    if ((await processes.ofUser(uid)).length > 0) await delay(LOOK_EVERY_MS);
  }
}

async function removeLeftovers(params: Params, { runtime, signal }: TaskContext): Promise<void> {
  const home = homeOf(params.username);
  for (const mountPoint of await runtime.mounts.list()) {
    if (isWithin(mountPoint, home)) await runtime.mounts.unmount(mountPoint);
  }
  await removeTree(runtime.hostPath(home), signal);
  await rm(runtime.hostPath(`/var/spool/cron/crontabs/${params.username}`), { force: true });
  await Promise.all(sharedFolders.map((folder) => removeOwned(runtime, folder, params.uid, signal)));
}

async function removeOwned(
  runtime: NodeRuntime,
  folder: string,
  uid: number,
  signal: AbortSignal,
): Promise<void> {
  for (const name of await unlessMissing(readdir(runtime.hostPath(folder)), [])) {
    const host = runtime.hostPath(`${folder}/${name}`);
    const found = await unlessMissing(lstat(host), undefined);
    if (found?.uid === uid) await removeTree(host, signal);
  }
}
