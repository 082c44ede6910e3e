import { access, open, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { permanent, transient, unlessMissing } from '../../failure.ts';
import { readZeros, writeZeros } from '../block-device.ts';
import type { BlockDevices, Containers, Gpu, Gpus, Mounts, Processes } from '../runtime.ts';
import { jsonNames, numbersOf, readObject, replaceFile } from './files.ts';

/** What a simulated GPU keeps in memory of an allocation, in bytes. */
const RESIDUE_BYTES = 16 * 1024 ** 3;
/** How long simulated processes that ignore SIGTERM are waited for. */
const TERM_GRACE_MS = 40;
const FIRST_BUS = 0x17;
const GPU_FILE = /^gpu(\d+)$/;

export const simulatedPciAddress = (slot: number): string =>
  `0000:${(FIRST_BUS + slot).toString(16).padStart(2, '0')}:00.0`;

/** A GPU as `dev/gpu<N>.json` holds it. */
interface GpuFile {
  readonly slot: number;
  readonly pci_address: string;
  readonly memory_residue: boolean;
  readonly allocation_id: string | null;
  readonly processes: readonly number[];
}

const gpuFile = (root: string, slot: number): string => path.join(root, 'dev', `gpu${slot}.json`);

/** Makes the files of the GPUs that have none. */
export async function plugGpus(root: string, count: number): Promise<void> {
  for (let slot = 0; slot < count; slot += 1) {
    if ((await readObject(gpuFile(root, slot))) === undefined)
      await writeGpu(root, await readGpu(root, slot));
  }
}

async function readGpu(root: string, slot: number): Promise<GpuFile> {
  const found = await readObject(gpuFile(root, slot));
  const address = found?.['pci_address'];
  const allocation = found?.['allocation_id'];
  return {
    slot,
    pci_address: typeof address === 'string' ? address : simulatedPciAddress(slot),
    memory_residue: found?.['memory_residue'] === true,
    allocation_id: typeof allocation === 'string' ? allocation : null,
    processes: numbersOf(found?.['processes']),
  };
}

const writeGpu = (root: string, gpu: GpuFile): Promise<void> =>
  replaceFile(gpuFile(root, gpu.slot), `${JSON.stringify(gpu)}\n`);

const slotsOf = async (root: string): Promise<number[]> =>
  (await jsonNames(path.join(root, 'dev'))).flatMap((name) => {
    const slot = GPU_FILE.exec(name)?.[1];
    return slot === undefined ? [] : [Number(slot)];
  });

export function createSimulatedGpus(root: string): Gpus {
  const read = (gpu: Gpu): Promise<GpuFile> => readGpu(root, gpu.slot);
  return {
    async list() {
      const files = await Promise.all((await slotsOf(root)).map((slot) => readGpu(root, slot)));
      const gpus = files.map(({ slot, pci_address }) => ({ slot, pciAddress: pci_address.toLowerCase() }));
      return gpus.sort((a, b) => a.slot - b.slot);
    },
    async inspect(gpu) {
      const { memory_residue, processes } = await read(gpu);
      return { processes: processes.length, residueBytes: memory_residue ? RESIDUE_BYTES : 0 };
    },
    async reset(gpu) {
      const file = await read(gpu);
      if (file.processes.length > 0)
        throw transient('gpu_busy', `processes use the GPU at ${gpu.pciAddress}`);
      if (file.memory_residue || file.allocation_id !== null) {
        await writeGpu(root, { ...file, memory_residue: false, allocation_id: null });
      }
    },
    async assign(gpus, allocationId) {
      await Promise.all(
        gpus.map(async (gpu) => {
          const file = await read(gpu);
          const next = { ...file, memory_residue: true, allocation_id: allocationId };
          if (!file.memory_residue || file.allocation_id !== allocationId) await writeGpu(root, next);
        }),
      );
    },
  };
}

/**
 * Processes are files `proc/<pid>.json`: `{"uid": 10001}`. `"ignores": "term"` leaves only SIGKILL, `"ignores": "kill"`
 * nothing at all.
 */
export function createSimulatedProcesses(root: string): Processes {
  const directory = path.join(root, 'proc');
  const fileOf = (pid: number): string => path.join(directory, `${pid}.json`);
  return {
    termGraceMs: TERM_GRACE_MS,
    async ofUser(uid) {
      const pids = (await jsonNames(directory)).map(Number).filter((pid) => Number.isInteger(pid));
      const found = await Promise.all(
        pids.map(async (pid) => ({ pid, file: await readObject(fileOf(pid)) })),
      );
      return found.filter(({ file }) => file?.['uid'] === uid).map(({ pid }) => pid);
    },
    async signal(pid, name) {
      const ignores = (await readObject(fileOf(pid)))?.['ignores'];
      if (ignores === 'kill' || (ignores === 'term' && name === 'SIGTERM')) return;
      await rm(fileOf(pid), { force: true });
      for (const slot of await slotsOf(root)) {
        const gpu = await readGpu(root, slot);
        const processes = gpu.processes.filter((other) => other !== pid);
        if (processes.length < gpu.processes.length) await writeGpu(root, { ...gpu, processes });
      }
    },
  };
}

/** Containers are files `containers/<id>.json`: `{"allocation_id": "…"}`. */
export function createSimulatedContainers(root: string): Containers {
  const directory = path.join(root, 'containers');
  return {
    async list(allocationId) {
      const ids = await jsonNames(directory);
      if (allocationId === null) return ids;
      const found = await Promise.all(ids.map((id) => readObject(path.join(directory, `${id}.json`))));
      return ids.filter((_, index) => found[index]?.['allocation_id'] === allocationId);
    },
    remove: (id) => rm(path.join(directory, `${id}.json`), { force: true }),
  };
}

/** Mounts are the lines of `proc/mounts`, in the kernel's format, with paths of the node. */
export function createSimulatedMounts(root: string): Mounts {
  const file = path.join(root, 'proc/mounts');
  const lines = async (): Promise<string[]> =>
    (await unlessMissing(readFile(file, 'utf8'), '')).split('\n').filter((line) => line !== '');
  const pointOf = (line: string): string => line.split(' ')[1] ?? '';
  return {
    list: async () => (await lines()).map(pointOf),
    async unmount(mountPoint) {
      const kept = (await lines()).filter((line) => pointOf(line) !== mountPoint);
      await replaceFile(file, kept.map((line) => `${line}\n`).join(''));
    },
  };
}

/** Block devices are files `dev/disk<…>` and `dev/nvme<…>`; all of them may be wiped. */
export function createSimulatedBlockDevices(root: string): BlockDevices {
  const deviceName = /^\/dev\/((?:disk|nvme)[a-z0-9]*)$/;
  const fileOf = async (device: string): Promise<string> => {
    const name = deviceName.exec(device)?.[1];
    if (name === undefined) throw permanent('device_refused', 'the path is not that of a data device');
    const file = path.join(root, 'dev', name);
    const there = await unlessMissing(
      access(file).then(() => true),
      false,
    );
    if (!there) throw permanent('device_missing', 'the node has no such device');
    return file;
  };
  return {
    async wipeable() {
      const names = await unlessMissing(readdir(path.join(root, 'dev')), []);
      return names.map((name) => `/dev/${name}`).filter((device) => deviceName.test(device));
    },
    async wipe(device, signal) {
      const handle = await open(await fileOf(device), 'r+');
      try {
        await writeZeros(handle, (await handle.stat()).size, signal);
      } finally {
        await handle.close();
      }
    },
    async isZero(device, signal) {
      const handle = await open(await fileOf(device), 'r');
      try {
        return await readZeros(handle, (await handle.stat()).size, signal);
      } finally {
        await handle.close();
      }
    },
  };
}
