/**
 * What the allocation's activities need from other domains. The composition root wires each to its owner's store; every
 * table is touched only by its own domain.
 */
import type { ErrorCode } from '../../contracts/errors.ts';
import type { TaskBudgets } from '../../contracts/allocations/allocation.messages.ts';
import type { AllocationRequest } from '../../contracts/allocations/allocation.messages.ts';
import type { AuditEntry } from '../../db/audit.ts';
import type { Database, Queryable, Tx } from '../../db/client.ts';
import type { NewNodeTask, NodeTaskRow } from '../../db/nodes/node-task.schema.ts';

export interface IdentityPort {
  /** Locks the user's row until the transaction ends, so that two admissions of one user follow each other. */
  lockUser(tx: Tx, userId: string): Promise<void>;
  isProjectMember(tx: Tx, projectId: string, userId: string): Promise<boolean>;
  /** POSIX identity and public keys of a user: what a node needs to let them in. */
  accessOf(
    q: Queryable,
    userId: string,
  ): Promise<{
    readonly username: string;
    readonly uid: number;
    readonly gid: number;
    readonly authorizedKeys: readonly string[];
  }>;
}

export interface CatalogPort {
  /** True when the SKU exists and is offered. */
  isOffered(q: Queryable, sku: string): Promise<boolean>;
}

export interface PlacementPort {
  takeWholeNode(
    tx: Tx,
    wanted: { sku: string; allocationId: string; offlineAfterSeconds: number },
  ): Promise<string | undefined>;
  freePlacements(tx: Tx, allocationId: string): Promise<void>;
  quarantinePlacements(tx: Tx, allocationId: string): Promise<void>;
  slotsOf(q: Queryable, allocationId: string): Promise<number[]>;
}

/** Says whether the account can carry an allocation, and holds the money for it in the admission's transaction. */
export interface FundsPort {
  hold(tx: Tx, request: AllocationRequest, allocationId: string): Promise<ErrorCode | undefined>;
}

export interface PolicyPort {
  allocationBudgets(): Promise<TaskBudgets & { maxConcurrentPerUser: number; offlineAfterSeconds: number }>;
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
  findTaskOfActivity(
    tx: Tx,
    at: { workflowId: string; runId: string; activityId: string },
    attempt: number,
  ): Promise<NodeTaskRow | undefined>;
  insertTask(tx: Tx, task: NewNodeTask, params: Record<string, unknown>): Promise<NodeTaskRow>;
  supersedeOpenTasks(tx: Tx, allocationId: string): Promise<void>;
  /** When the node proved that the tenant's work had ended; null without such a proof. */
  stoppedAt(q: Queryable, allocationId: string): Promise<Date | null>;
}

export interface AllocationActivityDeps {
  readonly db: Database;
  readonly identity: IdentityPort;
  readonly catalog: CatalogPort;
  readonly placements: PlacementPort;
  readonly funds: FundsPort;
  readonly policies: PolicyPort;
  readonly audit: AuditPort;
  readonly tasks: NodeTaskPort;
  readonly wake: WakePort;
}
