import { nodeTaskResults, type NodeTask } from '../../../contracts/nodes/node-task.api.ts';
import { permanent } from '../failure.ts';
import { allocationCleanup } from './allocation-cleanup.ts';
import { allocationPrepare } from './allocation-prepare.ts';
import { gpuScrub } from './gpu-scrub.ts';
import { storageCleanup } from './storage-cleanup.ts';
import type { TaskContext } from './task.ts';
import { validateClean } from './validate-clean.ts';

const run = (task: NodeTask, context: TaskContext): Promise<unknown> => {
  switch (task.kind) {
    case 'node.allocation_prepare':
      return allocationPrepare(task.params, context);
    case 'node.allocation_cleanup':
      return allocationCleanup(task.params, context);
    case 'node.gpu_scrub':
      return gpuScrub(task.params, context);
    case 'node.storage_cleanup':
      return storageCleanup(task.params, context);
    case 'node.validate_clean':
      return validateClean(task.params, context);
  }
};

/**
 * Executes a task.
 * @returns its result, by the schema of its kind.
 * @throws TaskFailure `task_mismatch` when the parameters name another allocation than the task; what the handler throws.
 */
export async function executeTask(task: NodeTask, context: TaskContext): Promise<Record<string, unknown>> {
  const named = task.params.allocation_id;
  if (named !== undefined && named !== task.allocation_id) {
    throw permanent('task_mismatch', 'the parameters name another allocation than the task');
  }
  context.signal.throwIfAborted();
  return { ...nodeTaskResults[task.kind].parse(await run(task, context)) };
}
