import { existsSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { permanent, transient } from '../../failure.ts';
import { readZeros, writeZeros } from '../block-device.ts';
import type { BlockDevices, Containers, Gpu, Gpus, Mounts, Processes } from '../runtime.ts';
import { jsonNames, namesIn, numbersOf, readObject, readText, replaceFile, writeObject } from './files.ts';

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
export function plugGpus(root: string, count: number): void {
  for (let slot = 0; slot < count; slot += 1) {
    if (readObject(gpuFile(root, slot)) === undefined) writeGpu(root, readGpu(root, slot));
  }
}

function readGpu(root: string, slot: number): GpuFile {
  const found = readObject(gpuFile(root, slot));
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

const writeGpu = (root: string, gpu: GpuFile): void => writeObject(gpuFile(root, gpu.slot), gpu);

const slotsOf = (root: string): number[] =>
  jsonNames(path.join(root, 'dev')).flatMap((name) => {
    const slot = GPU_FILE.exec(name)?.[1];
    return slot === undefined ? [] : [Number(slot)];
  });

export function createSimulatedGpus(root: string): Gpus {
  const read = (gpus: readonly Gpu[]): GpuFile[] => gpus.map((gpu) => readGpu(root, gpu.slot));
  return {
    list() {
      const files = slotsOf(root).map((slot) => readGpu(root, slot));
      const gpus = files.map(({ slot, pci_address }) => ({ slot, pciAddress: pci_address.toLowerCase() }));
      return Promise.resolve(gpus.sort((a, b) => a.slot - b.slot));
    },
    inspect: (gpus) =>
      Promise.resolve(
        read(gpus).map(({ memory_residue, processes }) => ({
          processes: processes.length,
          residueBytes: memory_residue ? RESIDUE_BYTES : 0,
        })),
      ),
    reset(gpus) {
      const files = read(gpus);
      const busy = files.find((file) => file.processes.length > 0);
      if (busy !== undefined)
        return Promise.reject(transient('gpu_busy', `processes use the GPU at ${busy.pci_address}`));
      for (const file of files) {
        const untouched = !file.memory_residue && file.allocation_id === null;
        if (!untouched) writeGpu(root, { ...file, memory_residue: false, allocation_id: null });
      }
      return Promise.resolve();
    },
    assign(gpus, allocationId) {
      for (const file of read(gpus)) {
        const same = file.memory_residue && file.allocation_id === allocationId;
        if (!same) writeGpu(root, { ...file, memory_residue: true, allocation_id: allocationId });
      }
      return Promise.resolve();
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
    ofUser(uid) {
      const pids = jsonNames(directory).map(Number).filter(Number.isInteger);
      return Promise.resolve(pids.filter((pid) => readObject(fileOf(pid))?.['uid'] === uid));
    },
    signal(pid, name) {
      const ignores = readObject(fileOf(pid))?.['ignores'];
      if (ignores === 'kill' || (ignores === 'term' && name === 'SIGTERM')) return Promise.resolve();
      rmSync(fileOf(pid), { force: true });
      for (const gpu of slotsOf(root).map((slot) => readGpu(root, slot))) {
        const processes = gpu.processes.filter((other) => other !== pid);
        if (processes.length < gpu.processes.length) writeGpu(root, { ...gpu, processes });
      }
      return Promise.resolve();
    },
  };
}

/** Containers are files `containers/<id>.json`: `{"allocation_id": "…"}`. */
export function createSimulatedContainers(root: string): Containers {
  const directory = path.join(root, 'containers');
  const ownerOf = (id: string): unknown => readObject(path.join(directory, `${id}.json`))?.['allocation_id'];
  return {
    list(allocationId) {
      const ids = jsonNames(directory);
      return Promise.resolve(allocationId === null ? ids : ids.filter((id) => ownerOf(id) === allocationId));
    },
    remove(id) {
      rmSync(path.join(directory, `${id}.json`), { force: true });
      return Promise.resolve();
    },
  };
}

/** Mounts are the lines of `proc/mounts`, in the kernel's format, with paths of the node. */
export function createSimulatedMounts(root: string): Mounts {
  const file = path.join(root, 'proc/mounts');
  const lines = (): string[] => (readText(file) ?? '').split('\n').filter((line) => line !== '');
  const pointOf = (line: string): string => line.split(' ')[1] ?? '';
  return {
    list: () => Promise.resolve(lines().map(pointOf)),
    unmount(mountPoint) {
      const kept = lines().filter((line) => pointOf(line) !== mountPoint);
      replaceFile(file, kept.map((line) => `${line}\n`).join(''));
      return Promise.resolve();
    },
  };
}

/** Block devices are files `dev/disk<…>` and `dev/nvme<…>`; all of them may be wiped. */
export function createSimulatedBlockDevices(root: string): BlockDevices {
  const deviceName = /^\/dev\/((?:disk|nvme)[a-z0-9]*)$/;
  const fileOf = (device: string): string => {
    const name = deviceName.exec(device)?.[1];
    if (name === undefined) throw permanent('device_refused', 'the path is not that of a data device');
    const file = path.join(root, 'dev', name);
    if (!existsSync(file)) throw permanent('device_missing', 'the node has no such device');
    return file;
  };
  return {
    wipeable() {
      const devices = namesIn(path.join(root, 'dev')).map((name) => `/dev/${name}`);
      return Promise.resolve(devices.filter((device) => deviceName.test(device)));
    },
    async wipe(device, signal) {
      const handle = await open(fileOf(device), 'r+');
      try {
        await writeZeros(handle, (await handle.stat()).size, signal);
      } finally {
        await handle.close();
      }
    },
    async isZero(device, signal) {
      const handle = await open(fileOf(device), 'r');
      try {
        return await readZeros(handle, (await handle.stat()).size, signal);
      } finally {
        await handle.close();
      }
    },
  };
}
