import { permanent } from '../failure.ts';
import type { Gpu } from '../runtime/runtime.ts';
import type { TaskContext } from './task.ts';

/**
 * The GPUs that a task is about: the ones it names, else those of its allocation, else all that no other allocation has.
 * @throws TaskFailure `gpu_unknown` when the node has no GPU at an address.
 */
export async function gpusOfTask(
  context: TaskContext,
  addresses: readonly string[] | undefined,
): Promise<Gpu[]> {
  const all = await context.runtime.gpus.list();
  if (addresses !== undefined) {
    return addresses.map((address) => {
      const gpu = all.find((candidate) => candidate.pciAddress === address.toLowerCase());
      if (gpu === undefined) throw permanent('gpu_unknown', `the node has no GPU at ${address}`);
      return gpu;
    });
  }
  const own = context.allocationId === null ? undefined : await context.records.read(context.allocationId);
  if (own !== undefined && own.gpu_slots.length > 0)
    return all.filter((gpu) => own.gpu_slots.includes(gpu.slot));
  const taken = new Set(
    (await context.records.others(context.allocationId)).flatMap((record) => record.gpu_slots),
  );
  return all.filter((gpu) => !taken.has(gpu.slot));
}
