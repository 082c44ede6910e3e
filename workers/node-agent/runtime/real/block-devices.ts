import { constants } from 'node:fs';
import { open, readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { permanent, systemCode, transient, unlessMissing, type TaskFailure } from '../../failure.ts';
import { readZeros } from '../block-device.ts';
import type { BlockDevices } from '../runtime.ts';
import { commandFailed, mustRun, run } from './exec.ts';
import { unescapeMount } from './system.ts';

/** Where the kernel tells of devices and of mounts. */
export interface KernelFiles {
  /** Folder with `dev/block/<major>:<minor>`, one link per device. */
  readonly sys: string;
  /** The mounts of the agent's namespace, in the format of `mountinfo`. */
  readonly mountinfo: string;
}

const kernelFiles: KernelFiles = { sys: '/sys', mountinfo: '/proc/self/mountinfo' };

const busy = (): TaskFailure => transient('device_busy', 'the device or a part of it is mounted or held');

/** Only devices that the node's owner has listed; everything else is refused. */
export function createRealBlockDevices(wipeable: readonly string[], kernel = kernelFiles): BlockDevices {
  const check = async (device: string): Promise<void> => {
    if (!wipeable.includes(device)) throw permanent('device_refused', 'the device is not listed as wipeable');
    const found = await unlessMissing(stat(device), undefined);
    if (found === undefined) throw permanent('device_missing', 'the node has no such device');
    if (!found.isBlockDevice()) throw permanent('device_refused', 'the path is not that of a block device');
  };
  const size = async (device: string): Promise<number> =>
    Number(await mustRun('blockdev', ['--getsize64', device]));
  return {
    wipeable: () => Promise.resolve(wipeable),
    async wipe(device, signal) {
      await check(device);
      const number = await numberOf(device);
      if (number === undefined || (await isInUse(number, kernel))) throw busy();
      signal.throwIfAborted();
      // The tool opens the device exclusively: the kernel refuses what anybody holds, in other namespaces too.
      const { code } = await run('blkdiscard', ['--zeroout', device], signal);
      if (code !== 0) throw (await isHeld(device)) ? busy() : commandFailed('blkdiscard', code);
    },
    async isZero(device, signal) {
      await check(device);
      const handle = await open(device, 'r');
      try {
        return await readZeros(handle, await size(device), signal);
      } finally {
        await handle.close();
      }
    },
  };
}

/** Whether the kernel refuses to give the device to one holder alone. */
async function isHeld(device: string): Promise<boolean> {
  try {
    await (await open(device, constants.O_RDONLY | constants.O_EXCL)).close();
    return false;
  } catch (error) {
    return systemCode(error) === 'EBUSY';
  }
}

/** `<major>:<minor>` of a block device's file; undefined when the path is no such file. */
async function numberOf(file: string): Promise<string | undefined> {
  const found = await unlessMissing(stat(file, { bigint: true }), undefined);
  if (found?.isBlockDevice() !== true) return undefined;
  const { rdev } = found;
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/**
 * Whether a device, one of its partitions or the disk that it is a partition of is mounted, or claimed by a device on top
 * of it (LVM, RAID, encryption). A holder counts whether or not it is in use itself; a device that the kernel's files do
 * not know counts as in use.
 * @param number `<major>:<minor>`.
 */
export async function isInUse(number: string, kernel = kernelFiles): Promise<boolean> {
  const folder = await unlessMissing(realpath(path.join(kernel.sys, 'dev/block', number)), undefined);
  if (folder === undefined) return true;
  const folders = [folder, ...(await partitionsOf(folder))];
  // Siblings are another matter: to wipe one partition does them no harm.
  if (await isPartition(folder)) folders.push(path.dirname(folder));
  for (const each of folders) {
    if ((await unlessMissing(readdir(path.join(each, 'holders')), [])).length > 0) return true;
  }
  const numbers = await Promise.all(folders.map((each) => readFile(path.join(each, 'dev'), 'utf8')));
  return isMounted(new Set(numbers.map((text) => text.trim())), new Set(folders.map(fileOf)), kernel);
}

const isPartition = async (folder: string): Promise<boolean> =>
  unlessMissing(
    stat(path.join(folder, 'partition')).then(() => true),
    false,
  );

/** Partitions are folders in the folder of their disk. */
async function partitionsOf(folder: string): Promise<string[]> {
  const inner = (await readdir(folder)).map((name) => path.join(folder, name));
  const found = await Promise.all(inner.map(isPartition));
  return inner.filter((_, index) => found[index]);
}

/** The kernel writes a slash in a device's name as `!`. */
const fileOf = (folder: string): string => `/dev/${path.basename(folder).replaceAll('!', '/')}`;

/** Some file systems have a number of their own: then the file that was mounted tells the device. */
async function isMounted(
  numbers: ReadonlySet<string>,
  files: ReadonlySet<string>,
  kernel: KernelFiles,
): Promise<boolean> {
  for (const line of (await readFile(kernel.mountinfo, 'utf8')).split('\n')) {
    const [head = '', tail = ''] = line.split(' - ');
    const source = unescapeMount(tail.split(' ')[1] ?? '');
    if (numbers.has(head.split(' ')[2] ?? '') || files.has(source)) return true;
    const number = source.startsWith('/dev/') ? await numberOf(source) : undefined;
    if (number !== undefined && numbers.has(number)) return true;
  }
  return false;
}
