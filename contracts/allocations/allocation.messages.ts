/**
 * What travels between API, workflow and activities of an allocation: ids, codes, states and durations only.
 * Names, keys and addresses are loaded by the activity that needs them.
 */
import type { ErrorCode } from '../errors.ts';
import type { AllocationId, NodeId, OperationId, OrgId, ProjectId, UserId } from '../ids.ts';
import type { AllocationState } from './allocation.lifecycle.ts';

export const schedulerTypes = ['bare_metal', 'slurm', 'k8s', 'ray'] as const;
export type SchedulerType = (typeof schedulerTypes)[number];

/** `WorkflowType` of the run. */
export const allocationWorkflowType = 'allocation';
/** Update that waits for admission and answers with its outcome. */
export const outcomeUpdate = 'outcome';
/** Update by which a user, an admin or a consumer ends the allocation. */
export const releaseUpdate = 'release';

/** The request as admission sees it; also kept in the operation's row so that a lost run can be started again. */
export interface AllocationRequest {
  readonly operationId: OperationId;
  readonly orgId: OrgId;
  readonly projectId: ProjectId;
  readonly userId: UserId;
  readonly sku: string;
  readonly schedulerType: SchedulerType;
  readonly correlationId: string;
}

/** Start argument. With `resume` the run continues the row at whatever state it has. */
export type AllocationInput =
  | { readonly allocationId: AllocationId; readonly resume: false; readonly request: AllocationRequest }
  | { readonly allocationId: AllocationId; readonly resume: true };

/** Outcome of an operation: a business decision, kept for ever under its key. */
export type OperationOutcome =
  | { readonly kind: 'accepted'; readonly state: AllocationState }
  | {
      readonly kind: 'refused';
      readonly code: ErrorCode;
      readonly details?: Readonly<Record<string, unknown>>;
    };

/** A release command. `actor` is an id, never a name; why it was given stays in the operation's row. */
export interface ReleaseCommand {
  readonly operationId: OperationId;
  readonly command: 'release' | 'force_release';
  readonly actorUserId: UserId;
  readonly actorRole: 'user' | 'admin';
  readonly correlationId: string;
}

/** What the workflow knows of the row, and the budgets that were in force when it read them. */
export interface AllocationSnapshot {
  readonly allocationId: AllocationId;
  readonly state: AllocationState;
  readonly version: number;
  readonly nodeId: NodeId;
  readonly orgId: OrgId;
  readonly projectId: ProjectId;
  readonly correlationId: string;
  readonly budgets: TaskBudgets;
}

/** Policy values that bound a node task. */
export interface TaskBudgets {
  readonly taskTimeoutSeconds: number;
  readonly taskAttempts: number;
  readonly taskRetryMilliseconds: number;
}

export type Admission =
  | { readonly kind: 'admitted'; readonly outcome: OperationOutcome; readonly allocation: AllocationSnapshot }
  | { readonly kind: 'refused'; readonly outcome: OperationOutcome };
