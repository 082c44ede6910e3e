/**
 * What the allocation's activities need from other domains. The composition root wires each to its owner's store; every
 * table is touched only by its own domain.
 */
import type { ErrorCode } from '../../contracts/errors.ts';
import type { AllocationRequest, TaskBudgets } from '../../contracts/allocations/allocation.messages.ts';
import type { AuditEntry } from '../../db/audit.ts';
import type { Database, Queryable, Tx } from '../../db/client.ts';
import type { AdmissionLimits } from '../../db/ops/admission.views.ts';

export interface IdentityPort {
  /** Locks the user's row until the transaction ends, so that two admissions of one user follow each other. */
  lockUser(tx: Tx, userId: string): Promise<void>;
}

export interface PlacementPort {
  takeWholeNode(
    tx: Tx,
    wanted: { sku: string; allocationId: string; offlineAfterSeconds: number },
  ): Promise<string | undefined>;
  freePlacements(tx: Tx, allocationId: string): Promise<void>;
  /** `freePlacements`, and every open task of the allocation is closed to results. */
  giveBackNode(tx: Tx, allocationId: string): Promise<void>;
  quarantinePlacements(tx: Tx, allocationId: string): Promise<void>;
}

/** Says whether the account can carry an allocation, and holds the money for it in the admission's transaction. */
export interface FundsPort {
  hold(tx: Tx, request: AllocationRequest, allocationId: string): Promise<ErrorCode | undefined>;
}

export interface PolicyPort {
  allocationBudgets(): Promise<TaskBudgets & AdmissionLimits>;
}

export interface AuditPort {
  writeAudit(tx: Tx, entry: AuditEntry): Promise<void>;
}

/** Wakes whoever waits for a fact that was just committed. Losing a wake costs time, never the fact. */
export interface WakePort {
  node(nodeId: string): void;
  relay(aggregateId: string): void;
}

export interface NodeTaskPort {
  /** The id of an activity's task, the same for every attempt. */
  nodeTaskIdOf(at: { workflowId: string; runId: string; activityId: string }): string;
  noteAttempt(q: Queryable, taskId: string, attempt: number): Promise<void>;
  /** Parts of one statement: queue a task under a new fence when the part `change` touched a row. */
  queueing(change: string): string;
  supersedeOpenTasks(tx: Tx, allocationId: string): Promise<void>;
  /** When the node proved that the tenant's work had ended; null without such a proof. */
  stoppedAt(q: Queryable, allocationId: string): Promise<Date | null>;
}

export interface AllocationActivityDeps {
  readonly db: Database;
  readonly identity: IdentityPort;
  readonly placements: PlacementPort;
  readonly funds: FundsPort;
  readonly policies: PolicyPort;
  readonly audit: AuditPort;
  readonly tasks: NodeTaskPort;
  readonly wake: WakePort;
}
