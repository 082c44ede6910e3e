/** Kinds, phases and results of node tasks, without schemas: what workflows and stores may import. */
import type { AllocationId, NodeId } from '../ids.ts';

/** Every kind of task that a node-agent executes. */
export const nodeTaskKinds = [
  'node.allocation_prepare',
  'node.allocation_cleanup',
  'node.gpu_scrub',
  'node.storage_cleanup',
  'node.validate_clean',
] as const;
export type NodeTaskKind = (typeof nodeTaskKinds)[number];

/** The three kinds whose parameters and result the source contract fixes. */
export const nodeCleanupTaskTypes = [
  'node.gpu_scrub',
  'node.storage_cleanup',
  'node.validate_clean',
] as const;

/** The order in which a node is returned to the pool. */
export const cleanupSequence = [
  'node.allocation_cleanup',
  'node.gpu_scrub',
  'node.storage_cleanup',
  'node.validate_clean',
] as const satisfies readonly NodeTaskKind[];

export const nodeTaskStates = [
  'queued',
  'offered',
  'succeeded',
  'failed',
  'cancelled',
  'superseded',
] as const;

/** Why a node says that a task failed. `retryable` false ends the attempts at once. */
export interface NodeTaskFailure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** What the task activity gives back to the workflow. Results stay in Postgres; only the verdict travels. */
export type NodeTaskVerdict =
  | { readonly outcome: 'succeeded'; readonly clean?: boolean }
  | { readonly outcome: 'failed'; readonly failure: NodeTaskFailure }
  | { readonly outcome: 'cancelled' };

/** Which task an activity dispatches. `version` and `transition` go with the first task of a phase. */
export interface NodeTaskRequest {
  readonly allocationId: AllocationId;
  readonly nodeId: NodeId;
  readonly kind: NodeTaskKind;
  readonly correlationId: string;
  readonly reason: string;
}
