import { gpusOfTask } from './gpus.ts';
import { ofAllocation, type Finding, type ResultOf, type TaskHandler } from './task.ts';

/** Clears device memory (`reset`), or only looks (`verify_only`); either way the memory is looked at afterwards. */
export const gpuScrub: TaskHandler<'node.gpu_scrub'> = async (
  params,
  context,
): Promise<ResultOf<'node.gpu_scrub'>> => {
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
  if (gpus.length === 0) findings.push({ kind: 'no_gpus', where: 'node', count: 0 });
  const resets = params.mode === 'reset' ? gpus : [];
  const before = gpus.length === 0 ? [] : await runtime.gpus.inspect(gpus);
  signal.throwIfAborted();
  if (resets.length > 0) await runtime.gpus.reset(resets);
  const after = resets.length > 0 ? await runtime.gpus.inspect(gpus) : before;
  for (const [index, { pciAddress: where }] of gpus.entries()) {
    const bytes = before[index]?.residueBytes ?? 0;
    const left = after[index];
    if (bytes > 0)
      findings.push({ kind: 'gpu_memory_residue', where, bytes, cleared: left?.residueBytes === 0 });
    if (left !== undefined && left.processes > 0)
      findings.push({ kind: 'gpu_processes', where, count: left.processes });
  }
  return {
    task_type: 'node.gpu_scrub',
    ...ofAllocation(context.allocationId),
    scrubbed: after.every((gpu) => gpu.residueBytes === 0 && gpu.processes === 0),
    findings: findings.map((finding) => ({ ...finding })),
    proof: {
      mode: params.mode,
      gpus_examined: gpus.length,
      gpus_reset: resets.length,
      containers_removed: containersRemoved,
    },
  };
};
