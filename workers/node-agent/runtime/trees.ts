import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { transient, unlessMissing } from '../failure.ts';

export interface Removed {
  files: number;
  directories: number;
}

/**
 * Removes a file or a tree, never following a link and never crossing into another file system.
 * @param keep when true the topmost folder stays, empty.
 * @throws TaskFailure `mount_busy` at a mount point; the signal's reason when aborted.
 */
export async function removeTree(hostPath: string, signal: AbortSignal, keep = false): Promise<Removed> {
  const removed: Removed = { files: 0, directories: 0 };
  const top = await unlessMissing(lstat(hostPath), undefined);
  if (top === undefined) return removed;
  if (top.isDirectory()) await removeDirectory(hostPath, top.dev, removed, signal, keep);
  else await removeFile(hostPath, removed);
  return removed;
}

async function removeFile(hostPath: string, removed: Removed): Promise<void> {
  if (
    await unlessMissing(
      unlink(hostPath).then(() => true),
      false,
    )
  )
    removed.files += 1;
}

async function removeDirectory(
  hostPath: string,
  device: number,
  removed: Removed,
  signal: AbortSignal,
  keep: boolean,
): Promise<void> {
  for (const entry of await unlessMissing(readdir(hostPath, { withFileTypes: true }), [])) {
    signal.throwIfAborted();
    const inner = `${hostPath}/${entry.name}`;
    if (!entry.isDirectory()) {
      await removeFile(inner, removed);
      continue;
    }
    const found = await unlessMissing(lstat(inner), undefined);
    if (found === undefined) continue;
    if (found.dev !== device) throw transient('mount_busy', 'a file system is still mounted in the tree');
    await removeDirectory(inner, device, removed, signal, false);
  }
  if (
    !keep &&
    (await unlessMissing(
      rmdir(hostPath).then(() => true),
      false,
    ))
  )
    removed.directories += 1;
}

/** How many entries a path holds, itself included, counting no further than `most`; 0 when there is nothing. */
export async function countEntries(hostPath: string, most: number, signal: AbortSignal): Promise<number> {
  const top = await unlessMissing(lstat(hostPath), undefined);
  if (top === undefined) return 0;
  let count = 1;
  const open = top.isDirectory() ? [hostPath] : [];
  for (let directory = open.pop(); directory !== undefined && count < most; directory = open.pop()) {
    signal.throwIfAborted();
    for (const entry of await unlessMissing(readdir(directory, { withFileTypes: true }), [])) {
      count += 1;
      if (entry.isDirectory()) open.push(`${directory}/${entry.name}`);
    }
  }
  return Math.min(count, most);
}
