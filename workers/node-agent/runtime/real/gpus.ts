import { readdir, readFile } from 'node:fs/promises';
import { permanent, transient, unlessMissing } from '../../failure.ts';
import type { Gpu, Gpus } from '../runtime.ts';
import { commandFailed, run } from './exec.ts';

const TOOL = 'nvidia-smi';
const PCI_DEVICES = '/sys/bus/pci/devices';
const NVIDIA = '0x10de';
/** PCI class of display controllers: VGA and 3D. */
const DISPLAY = /^0x03/;
/** What the driver itself keeps on an idle device, MiB. */
const DRIVER_MIB = 1024;
const MIB = 1024 * 1024;

/** `00000000:17:00.0`, as the tool writes it, or any case of it → `0000:17:00.0`. */
const addressOf = (busId: string): string =>
  busId
    .trim()
    .toLowerCase()
    .replace(/^[0-9a-f]{4}(?=[0-9a-f]{4}:)/, '');

/** GPUs of the machine as its PCI bus shows them, whether there is a driver or not. */
async function gpusOnBus(): Promise<number> {
  const devices = await unlessMissing(readdir(PCI_DEVICES), []);
  const isGpu = async (device: string): Promise<boolean> => {
    const [vendor, kind] = await Promise.all(
      ['vendor', 'class'].map((name) =>
        unlessMissing(readFile(`${PCI_DEVICES}/${device}/${name}`, 'utf8'), ''),
      ),
    );
    return vendor?.trim() === NVIDIA && DISPLAY.test(kind ?? '');
  };
  return (await Promise.all(devices.map(isGpu))).filter(Boolean).length;
}

/** Lines of a query, each split at its commas. */
async function query(what: string): Promise<string[][]> {
  const { code, stdout } = await run(TOOL, [what, '--format=csv,noheader,nounits']);
  if (code === undefined) throw permanent('gpu_tool_missing', `${TOOL} is not installed`);
  if (code !== 0) throw commandFailed(TOOL, code);
  const lines = stdout.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => line.split(',').map((field) => field.trim()));
}

/**
 * GPUs through `nvidia-smi`.
 * @param declared how many the node is said to have; undefined asks its PCI bus.
 */
export function createRealGpus(declared: number | undefined): Gpus {
  return {
    async list() {
      if ((declared ?? (await gpusOnBus())) === 0) return [];
      return (await query('--query-gpu=index,pci.bus_id')).map(([index, bus]): Gpu => ({
        slot: Number(index),
        pciAddress: addressOf(bus ?? ''),
      }));
    },
    async inspect(gpus) {
      const memory = await query('--query-gpu=pci.bus_id,memory.used');
      const apps = await query('--query-compute-apps=gpu_bus_id,pid');
      return gpus.map(({ pciAddress }) => {
        const used = Number(memory.find(([bus]) => addressOf(bus ?? '') === pciAddress)?.[1]);
        if (!Number.isFinite(used))
          throw transient('gpu_unreadable', `the GPU at ${pciAddress} does not tell its memory`);
        const processes = apps.filter(([bus]) => addressOf(bus ?? '') === pciAddress).length;
        return { processes, residueBytes: used > DRIVER_MIB ? used * MIB : 0 };
      });
    },
    async reset(gpus) {
      const addresses = gpus.map((gpu) => gpu.pciAddress).join(',');
      const { code } = await run(TOOL, ['--gpu-reset', '-i', addresses]);
      if (code === undefined) throw permanent('gpu_tool_missing', `${TOOL} is not installed`);
      if (code !== 0) throw transient('gpu_busy', `the GPUs at ${addresses} could not be reset (${code})`);
    },
    // Who may use a device is decided by who is on the machine: a node has one tenant.
    assign: () => Promise.resolve(),
  };
}
