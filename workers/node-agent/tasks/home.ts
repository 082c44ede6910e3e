/**
 * The home of a tenant, who may be logged in and may put a link in the place of anything in it at any moment. Nothing in
 * it is reached by its path: folders are held open, and names are looked up in them one by one, never through a link.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { systemCode, transient, unlessMissing } from '../failure.ts';
import { homeOf } from '../runtime/areas.ts';
import type { NodeRuntime } from '../runtime/runtime.ts';

export interface Tenant {
  readonly username: string;
  readonly uid: number;
  readonly gid: number;
}

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** How often something may come in the way before the task is given up for now. */
const ATTEMPTS = 8;
const PERMISSIONS = 0o7777;
const KEYS = 'authorized_keys';

/** A folder that is held open. */
interface Folder {
  readonly handle: FileHandle;
  /** Path of an entry, whatever has become of the path that the folder was opened by. */
  entry(name: string): string;
}

/** @throws a system error, `ELOOP` or `ENOTDIR` when the last part of the path is no folder itself. */
async function openFolder(hostPath: string): Promise<Folder> {
  const handle = await open(hostPath, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const self = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : hostPath;
  return { handle, entry: (name) => `${self}/${name}` };
}

/** The folder; undefined when there is nothing, or something else, by that name. */
async function openFolderIfThere(hostPath: string): Promise<Folder | undefined> {
  try {
    return await openFolder(hostPath);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}

async function withFolder<T>(folder: Folder, work: (folder: Folder) => Promise<T>): Promise<T> {
  try {
    return await work(folder);
  } finally {
    await folder.handle.close();
  }
}

/** Only root may give files away; as anybody else the tenant's files are the agent's own. */
const self = (): number => process.geteuid?.() ?? 0;
const ownerOf = (tenant: Tenant): number => (self() === 0 ? tenant.uid : self());

/** Makes the home as it should be, with exactly these keys; what else is in it stays. */
export async function writeHome(
  runtime: NodeRuntime,
  tenant: Tenant,
  authorizedKeys: readonly string[],
): Promise<void> {
  const host = runtime.hostPath(homeOf(tenant.username));
  // The folder of all homes is root's: what is in it is not the tenant's to change.
  const found = await unlessMissing(lstat(host), undefined);
  if (found !== undefined && !found.isDirectory()) await rm(host, { force: true });
  if (found?.isDirectory() !== true) {
    await mkdir(host, { mode: 0o700 });
    await chmod(host, 0o700);
  }
  await withFolder(await openFolder(host), async (home) => {
    await makeOwn(runtime, tenant, home);
    await withFolder(await openSsh(home, tenant), async (ssh) => {
      await makeOwn(runtime, tenant, ssh);
      await writeKeys(runtime, tenant, ssh, authorizedKeys.map((key) => `${key}\n`).join(''));
    });
  });
}

/** Takes the keys away. Nothing there is no error. */
export async function removeKeys(runtime: NodeRuntime, username: string): Promise<void> {
  const home = await openFolderIfThere(runtime.hostPath(homeOf(username)));
  if (home === undefined) return;
  await withFolder(home, async () => {
    const ssh = await openFolderIfThere(home.entry('.ssh'));
    if (ssh !== undefined) await withFolder(ssh, () => clearName(ssh, KEYS));
  });
}

/** Owner, group and mode 0700, each only where it differs. */
async function makeOwn(runtime: NodeRuntime, tenant: Tenant, { handle }: Folder): Promise<void> {
  const { uid, gid, mode } = await handle.stat();
  if ((mode & 0o777) !== 0o700) await handle.chmod(0o700);
  if (uid !== tenant.uid || gid !== tenant.gid) await runtime.giveTo(handle, tenant.uid, tenant.gid);
}

/** The tenant's `.ssh`, made when missing. What else bears the name makes way for it. */
async function openSsh(home: Folder, tenant: Tenant): Promise<Folder> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const ssh = await openFolderIfThere(home.entry('.ssh'));
    if (ssh !== undefined) {
      if (await isFit(ssh, tenant)) return ssh;
      await ssh.handle.close();
    }
    await clearName(home, '.ssh');
    await mkdir(home.entry('.ssh'), { mode: 0o700 }).catch((error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error;
    });
  }
  throw transient('home_in_motion', 'something keeps coming in the way in the home');
}

/** The tenant's own, or new: empty, of this process and for nobody else. A folder of another is not given away. */
async function isFit({ handle, entry }: Folder, tenant: Tenant): Promise<boolean> {
  const { uid, mode } = await handle.stat();
  if (uid === ownerOf(tenant)) return true;
  return uid === self() && (mode & 0o077) === 0 && (await readdir(entry('.'))).length === 0;
}

/** Frees a name: a file or a link is removed, a folder is moved aside. Its contents could not be removed safely. */
async function clearName(folder: Folder, name: string): Promise<void> {
  const at = folder.entry(name);
  try {
    await unlessMissing(unlink(at), undefined);
  } catch (error) {
    if (!['EISDIR', 'EPERM'].includes(systemCode(error) ?? '')) throw error;
    await unlessMissing(rename(at, `${at}.${randomUUID()}`), undefined);
  }
}

async function writeKeys(runtime: NodeRuntime, tenant: Tenant, ssh: Folder, text: string): Promise<void> {
  if (await hasKeys(ssh, tenant, text)) return;
  const next = ssh.entry(`${KEYS}.${randomUUID()}`);
  const handle = await open(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await handle.writeFile(text);
    await handle.chmod(0o600);
    await runtime.giveTo(handle, tenant.uid, tenant.gid);
  } catch (error) {
    await unlessMissing(unlink(next), undefined);
    throw error;
  } finally {
    await handle.close();
  }
  try {
    await rename(next, ssh.entry(KEYS));
  } catch (error) {
    if (systemCode(error) !== 'EISDIR') throw error;
    await clearName(ssh, KEYS);
    await rename(next, ssh.entry(KEYS));
  }
}

/** Whether the file is there as it should be. */
async function hasKeys(ssh: Folder, tenant: Tenant, text: string): Promise<boolean> {
  let handle: FileHandle;
  try {
    // Whoever opens a pipe waits for its other end, unless told not to.
    handle = await open(ssh.entry(KEYS), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'ENXIO'].includes(systemCode(error) ?? '')) return false;
    throw error;
  }
  try {
    const found = await handle.stat();
    const asMade = found.isFile() && found.uid === ownerOf(tenant) && (found.mode & PERMISSIONS) === 0o600;
    if (!asMade || found.size !== Buffer.byteLength(text)) return false;
    return (await handle.readFile('utf8')) === text;
  } finally {
    await handle.close();
  }
}
