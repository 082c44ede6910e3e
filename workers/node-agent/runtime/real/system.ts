import { access, readdir, readFile } from 'node:fs/promises';
import { systemCode, transient, unlessMissing } from '../../failure.ts';
import type { Containers, Mounts, Processes } from '../runtime.ts';
import { mustRun, run } from './exec.ts';

const TERM_GRACE_MS = 5000;
const DOCKER_SOCKET = '/var/run/docker.sock';
/** Label that tenants' containers carry. */
const ALLOCATION_LABEL = 'gpuaas.allocation_id';

/** Real and effective user ids, and whether the process is only a name that its parent has not collected. */
async function statusOf(pid: number): Promise<{ uids: number[]; ended: boolean } | undefined> {
  // A process may end at any moment; the kernel then says ENOENT or ESRCH.
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const uids = /^Uid:\s+(.*)$/m.exec(text)?.[1]?.split(/\s+/).map(Number) ?? [];
  return { uids, ended: /^State:\s+[ZX]/m.test(text) };
}

export function createRealProcesses(): Processes {
  return {
    termGraceMs: TERM_GRACE_MS,
    async ofUser(uid) {
      const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid > 1);
      const found = await Promise.all(pids.map(async (pid) => ({ pid, status: await statusOf(pid) })));
      return found
        .filter(({ status }) => status?.ended === false && status.uids.includes(uid))
        .map(({ pid }) => pid);
    },
    signal(pid, name) {
      try {
        process.kill(pid, name);
      } catch (error) {
        if (systemCode(error) !== 'ESRCH') throw error;
      }
      return Promise.resolve();
    },
  };
}

/** Containers of Docker. Without its socket no container of it can be running. */
export function createRealContainers(): Containers {
  return {
    async list(allocationId) {
      if (
        !(await unlessMissing(
          access(DOCKER_SOCKET).then(() => true),
          false,
        ))
      )
        return [];
      const label = allocationId === null ? ALLOCATION_LABEL : `${ALLOCATION_LABEL}=${allocationId}`;
      const text = await mustRun('docker', [
        'ps',
        '--all',
        '--quiet',
        '--no-trunc',
        '--filter',
        `label=${label}`,
      ]);
      return text.split('\n').filter((id) => id !== '');
    },
    remove: async (id) => void (await mustRun('docker', ['rm', '--force', '--volumes', id])),
  };
}

/** The kernel writes spaces and the like as `\040`. */
export const unescapeMount = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

const mountLines = async (): Promise<string[][]> =>
  (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));

export function createRealMounts(): Mounts {
  return {
    list: async () =>
      (await mountLines()).flatMap(([, point]) => (point === undefined ? [] : [unescapeMount(point)])),
    async unmount(mountPoint) {
      const { code } = await run('umount', ['--', mountPoint]);
      if (code !== 0) throw transient('mount_busy', 'a file system in the way could not be unmounted');
    },
  };
}
