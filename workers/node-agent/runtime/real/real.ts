import type { NodeRuntime } from '../runtime.ts';
import { createRealBlockDevices } from './block-devices.ts';
import { createRealGpus } from './gpus.ts';
import { createRealIdentities } from './identities.ts';
import { createRealContainers, createRealMounts, createRealProcesses } from './system.ts';

/** The machine that the process runs on. Needs root. */
export function openRealNode(options: {
  /** Undefined asks the machine. */
  gpuCount: number | undefined;
  wipeableDevices: readonly string[];
}): NodeRuntime {
  if (process.getuid?.() !== 0) throw new Error('the agent of a real node must run as root');
  return {
    mode: 'real',
    hostPath: (nodePath) => nodePath,
    giveTo: (handle, uid, gid) => handle.chown(uid, gid),
    identities: createRealIdentities(),
    processes: createRealProcesses(),
    gpus: createRealGpus(options.gpuCount),
    containers: createRealContainers(),
    mounts: createRealMounts(),
    blockDevices: createRealBlockDevices(options.wipeableDevices),
  };
}
