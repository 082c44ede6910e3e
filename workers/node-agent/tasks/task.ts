import type { components } from '../../../contracts/generated/client.ts';
import type { NodeTask } from '../../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../../contracts/nodes/node-task.tasks.ts';
import type { AllocationRecords } from '../records.ts';
import type { NodeRuntime } from '../runtime/runtime.ts';

export type ParamsOf<K extends NodeTaskKind> = Extract<NodeTask, { kind: K }>['params'];
type Schemas = components['schemas'];

interface Results extends Record<NodeTaskKind, object> {
  'node.allocation_prepare': Schemas['NodeAllocationPrepareTaskResult'];
  'node.allocation_cleanup': Schemas['NodeAllocationCleanupTaskResult'];
  'node.gpu_scrub': Schemas['NodeCleanupTaskResult'];
  'node.storage_cleanup': Schemas['NodeCleanupTaskResult'];
  'node.validate_clean': Schemas['NodeCleanupTaskResult'];
}
export type ResultOf<K extends NodeTaskKind> = Results[K];

/** One thing that was found. `kind` and `where` are words of this program: nothing a tenant wrote. */
export interface Finding {
  readonly kind: string;
  readonly where: string;
  readonly count?: number;
  readonly [detail: string]: string | number | boolean | undefined;
}

export interface TaskContext {
  readonly runtime: NodeRuntime;
  readonly records: AllocationRecords;
  readonly allocationId: string | null;
  /** Fires when the task is cancelled or superseded; between steps a handler stops by throwing its reason. */
  readonly signal: AbortSignal;
}

/**
 * What one kind of task does. A handler is idempotent: run twice it leaves the same state. It throws TaskFailure, or the
 * signal's reason after it has undone what is cheap to undo.
 */
export type TaskHandler<K extends NodeTaskKind> = (
  params: ParamsOf<K>,
  context: TaskContext,
) => Promise<ResultOf<K>>;

/** `allocation_id` of a result, absent when the task has none. */
export const ofAllocation = (allocationId: string | null): { allocation_id?: string } =>
  allocationId === null ? {} : { allocation_id: allocationId };
