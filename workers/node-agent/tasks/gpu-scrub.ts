import { gpusOfTask } from './gpus.ts';
import { ofAllocation, type Finding, type TaskHandler } from './task.ts';

/** Clears device memory (`reset`), or only looks (`verify_only`); either way the memory is looked at afterwards. */
export const gpuScrub: TaskHandler<'node.gpu_scrub'> = async (params, context) => {
  const { runtime, signal } = context;
  let containersRemoved = 0;
  if (params.mode === 'reset' && (params.container_runtime ?? 'none') !== 'none') {
    for (const id of await runtime.containers.list(context.allocationId)) {
      signal.throwIfAborted();
      await runtime.containers.remove(id);
      containersRemoved += 1;
    }
  }
  const gpus = await gpusOfTask(context, params.gpu_pci_addresses);
  const findings: Finding[] = [];
  let reset = 0;
  let clean = true;
  if (gpus.length === 0) findings.push({ kind: 'no_gpus', where: 'node', count: 0 });
  for (const gpu of gpus) {
    signal.throwIfAborted();
    const before = await runtime.gpus.inspect(gpu);
    if (params.mode === 'reset') {
      await runtime.gpus.reset(gpu);
      reset += 1;
    }
    const after = params.mode === 'reset' ? await runtime.gpus.inspect(gpu) : before;
    if (before.residueBytes > 0) {
      findings.push({
        kind: 'gpu_memory_residue',
        where: gpu.pciAddress,
        bytes: before.residueBytes,
        cleared: after.residueBytes === 0,
      });
    }
    if (after.processes > 0)
      findings.push({ kind: 'gpu_processes', where: gpu.pciAddress, count: after.processes });
    if (after.residueBytes > 0 || after.processes > 0) clean = false;
  }
  return {
    task_type: 'node.gpu_scrub',
    ...ofAllocation(context.allocationId),
    scrubbed: clean,
    findings: findings.map((finding) => ({ ...finding })),
    proof: {
      mode: params.mode,
      gpus_examined: gpus.length,
      gpus_reset: reset,
      containers_removed: containersRemoved,
    },
  };
};
