import { lstat } from 'node:fs/promises';
import { posixUsername } from '../../../contracts/nodes/node-task.api.ts';
import { permanent, unlessMissing } from '../failure.ts';
import { areasOf, homeOf, isWithin, resolveInside, tenantIds, type Area } from '../runtime/areas.ts';
import { removeTree } from '../runtime/trees.ts';
import {
  ofAllocation,
  type Finding,
  type ParamsOf,
  type ResultOf,
  type TaskContext,
  type TaskHandler,
} from './task.ts';

type Params = ParamsOf<'node.storage_cleanup'>;

/** Removes what a tenant stored: files first, then, when asked, whole devices. */
export const storageCleanup: TaskHandler<'node.storage_cleanup'> = async (
  params,
  context,
): Promise<ResultOf<'node.storage_cleanup'>> => {
  const { runtime, signal } = context;
  const targets = await resolveTargets(params, context);
  const findings: Finding[] = [];
  const unmounted = await unmountWithin(targets, context);
  let files = 0;
  let directories = 0;
  for (const target of targets) {
    signal.throwIfAborted();
    const removed = await removeTree(
      runtime.hostPath(target.path),
      signal,
      params.delete_empty_dirs !== true,
    );
    files += removed.files;
    directories += removed.directories;
    const count = removed.files + removed.directories;
    if (count > 0) findings.push({ kind: 'removed', where: target.name, count });
  }
  const devices = params.wipe_block_devices ?? [];
  for (const device of devices) {
    signal.throwIfAborted();
    await runtime.blockDevices.wipe(device, signal);
  }
  const wiped = await Promise.all(devices.map((device) => runtime.blockDevices.isZero(device, signal)));
  return {
    task_type: 'node.storage_cleanup',
    ...ofAllocation(context.allocationId),
    cleaned: wiped.every((device) => device.zero),
    findings: findings.map((finding) => ({ ...finding })),
    proof: {
      paths_examined: targets.length,
      files_removed: files,
      directories_removed: directories,
      mounts_removed: unmounted,
      block_devices_wiped: devices.length,
      block_device_bytes_read: wiped.reduce((sum, device) => sum + device.bytesRead, 0),
    },
  };
};

/** All paths are judged before the first is touched. */
async function resolveTargets(params: Params, context: TaskContext): Promise<Area[]> {
  if (context.allocationId === null)
    throw permanent('path_refused', 'paths belong to an allocation, and none is named');
  const record = await context.records.read(context.allocationId);
  const areas = areasOf(context.allocationId, record?.username);
  const targets: Area[] = [];
  for (const given of params.paths) {
    const orphan = record === undefined ? await orphanedHome(given, context) : undefined;
    targets.push(
      await resolveInside(context.runtime, orphan === undefined ? areas : [...areas, orphan], given),
    );
  }
  return targets;
}

/** Without a record a home is a tenant's only when no user has it any more and a tenant's number owns it. */
async function orphanedHome(given: string, { runtime }: TaskContext): Promise<Area | undefined> {
  const username = given.split('/')[2] ?? '';
  const home = homeOf(username);
  if (!isWithin(given, home) || !posixUsername.safeParse(username).success) return undefined;
  const found = await unlessMissing(lstat(runtime.hostPath(home)), undefined);
  const free = found === undefined || (found.uid >= tenantIds.min && found.uid <= tenantIds.max);
  if (!free || (await runtime.identities.users()).some((user) => isWithin(user.home, home))) return undefined;
  return { name: 'home', path: home };
}

/** A mounted file system holds data that is kept elsewhere: it is let go, not emptied. */
async function unmountWithin(targets: readonly Area[], { runtime, signal }: TaskContext): Promise<number> {
  const mounted = (await runtime.mounts.list()).filter((at) =>
    targets.some((target) => isWithin(at, target.path)),
  );
  for (const mountPoint of mounted.sort((a, b) => b.length - a.length)) {
    signal.throwIfAborted();
    await runtime.mounts.unmount(mountPoint);
  }
  return mounted.length;
}
