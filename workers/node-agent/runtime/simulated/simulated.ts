import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../../failure.ts';
import type { NodeRuntime } from '../runtime.ts';
import {
  createSimulatedBlockDevices,
  createSimulatedContainers,
  createSimulatedGpus,
  createSimulatedMounts,
  createSimulatedProcesses,
  plugGpus,
} from './hardware.ts';
import { createSimulatedIdentities } from './identities.ts';

const folders = ['etc', 'home', 'scratch', 'mnt/gpuaas', 'proc', 'dev', 'containers', 'var/lib'] as const;

/** Creates a file with its first content; one that is there is kept. */
function createFile(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'wx' });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

/**
 * Opens the simulated node in a root folder, which is furnished when it is new. Everything that the node is lives in
 * files below the root; the machine itself is never touched.
 */
export function openSimulatedNode(options: { root: string; gpuCount: number }): NodeRuntime {
  const root = path.resolve(options.root);
  for (const folder of folders) mkdirSync(path.join(root, folder), { recursive: true });
  createFile(path.join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/bash\n');
  createFile(path.join(root, 'etc/group'), 'root:x:0:\n');
  plugGpus(root, options.gpuCount);
  const isRoot = process.getuid?.() === 0;
  return {
    mode: 'simulated',
    hostPath: (nodePath) => path.join(root, nodePath),
    // Only root may give files away; as anybody else the simulated tenant's files are the agent's own.
    giveTo: async (handle, uid, gid) => {
      if (isRoot) await handle.chown(uid, gid);
    },
    identities: createSimulatedIdentities(root),
    processes: createSimulatedProcesses(root),
    gpus: createSimulatedGpus(root),
    containers: createSimulatedContainers(root),
    mounts: createSimulatedMounts(root),
    blockDevices: createSimulatedBlockDevices(root),
  };
}
