/** Activity interfaces of the allocation; implemented in `activities/allocations/allocation.activities.ts`. */
import type { AllocationId } from '../ids.ts';
import type { NodeTaskRequest, NodeTaskVerdict } from '../nodes/node-task.tasks.ts';
import type { AllocationEvent, AllocationState } from './allocation.lifecycle.ts';
import type {
  Admission,
  AllocationRequest,
  AllocationSnapshot,
  OperationOutcome,
  ReleaseCommand,
  TaskBudgets,
} from './allocation.messages.ts';

/** A state change as the workflow orders it. */
export interface TransitionOrder {
  readonly allocationId: AllocationId;
  /** The version that the workflow last saw; the row must still have it. */
  readonly version: number;
  readonly from: AllocationState;
  readonly event: AllocationEvent;
  readonly to: AllocationState;
  /**
   * An event whose transition travels with a task that is still under way: the row may have it already
   * (then it stands at `version + 1`, in the state that the event leads to).
   */
  readonly underWay: AllocationEvent | null;
  readonly correlationId: string;
  /** Public, short, without personal data; null when a command tells it: its words stay in the operation's row. */
  readonly reason: string | null;
  /** The command that caused it, answered in the same transaction. */
  readonly command: ReleaseCommand | null;
  /** False when the node could not be proven clean: the slots are quarantined, not freed. */
  readonly provenClean: boolean;
}

/**
 * `answered`: the command had its outcome already (an earlier run acted on it). `stale`: the row is ahead of what the run
 * knows, because a workflow task was lost after its transition had committed. Neither touched the row.
 */
export type TransitionResult =
  | {
      readonly kind: 'done';
      readonly version: number;
      readonly state: AllocationState;
      /** The budgets in force now; absent in histories of before they travelled. */
      readonly budgets?: TaskBudgets;
    }
  | { readonly kind: 'answered'; readonly outcome: OperationOutcome }
  | { readonly kind: 'stale' };

/** Run as local activities: short, idempotent Postgres writes. */
export interface AllocationLocalActivities {
  /** Validates, places and inserts, or refuses; the outcome is stored under the operation. */
  admitAllocation(input: { allocationId: AllocationId; request: AllocationRequest }): Promise<Admission>;
  /** Reads the row of a resumed run and the commands that were accepted but not answered yet. */
  resumeAllocation(input: { allocationId: AllocationId }): Promise<{
    readonly allocation: AllocationSnapshot;
    readonly outcome: OperationOutcome;
    readonly pendingCommands: readonly ReleaseCommand[];
  }>;
  /** The only writer of `allocations.state`, with timeline, outbox, audit and the command's outcome. */
  transitionAllocation(order: TransitionOrder): Promise<TransitionResult>;
  /**
   * Refuses a command for the state that the row has, and stores that under its operation (the first writer wins).
   * @returns what the operation says; null when the row would take the command: the run knows an older state.
   */
  refuseCommand(input: {
    readonly allocationId: AllocationId;
    readonly command: ReleaseCommand;
  }): Promise<OperationOutcome | null>;
}

/** Asynchronous activities, completed by the node's result. */
export interface NodeTaskActivities {
  /** Upserts the task's row (with the transition of the phase, if any), wakes the node, completes later. */
  runNodeTask(input: {
    readonly task: NodeTaskRequest;
    readonly transition?: TransitionOrder;
  }): Promise<NodeTaskVerdict>;
}
