/**
 * The allocation's side effects. Every one is idempotent: an attempt that committed and was lost is found again by its
 * operation, by its timeline row or by its task row.
 */
import { ApplicationFailure } from '@temporalio/common';
import { CompleteAsyncError, activityInfo } from '@temporalio/activity';
import type {
  AllocationLocalActivities,
  NodeTaskActivities,
  TransitionOrder,
  TransitionResult,
} from '../../contracts/allocations/allocation.activities.ts';
import type {
  Admission,
  AllocationRequest,
  AllocationSnapshot,
  OperationOutcome,
  ReleaseCommand,
  TaskBudgets,
} from '../../contracts/allocations/allocation.messages.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import { asId, type AllocationId } from '../../contracts/ids.ts';
import {
  countLive,
  findAllocation,
  insertAllocation,
  moveAllocation,
} from '../../db/allocations/allocation.store.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { allocationView } from '../../db/allocations/allocation.views.ts';
import { sqlState, type Tx } from '../../db/client.ts';
import { decideOperation, lockOperation, openOperationsOf } from '../../db/ops/operation.store.ts';
import { SecondWriterError } from '../../db/timeline.ts';
import { publishRequested, publishTransition } from './allocation.outbox.ts';
import type { AllocationActivityDeps } from './allocation.ports.ts';
import { OutdatedTaskError, nodeTaskDispatcher } from './allocation.tasks.ts';

export function createAllocationActivities(
  deps: AllocationActivityDeps,
): AllocationLocalActivities & NodeTaskActivities {
  const { db } = deps;
  const dispatch = nodeTaskDispatcher(deps);
  return {
    async admitAllocation({ allocationId, request }) {
      const admission = await guarded(async () => {
        const budgets = await deps.policies.allocationBudgets();
        return db.tx((tx) => admit(deps, tx, allocationId, request, budgets));
      });
      if (admission.kind === 'admitted') deps.wake.relay(allocationId);
      return admission;
    },

    resumeAllocation({ allocationId }) {
      return guarded(async () => {
        const budgets = await deps.policies.allocationBudgets();
        const row = await findAllocation(db.q, allocationId);
        if (row === undefined) throw defect(`allocation ${allocationId} has no row to resume`);
        const pending = await openOperationsOf(db.q, allocationId);
        return {
          allocation: snapshotOf(row, budgets),
          outcome: { kind: 'accepted', state: 'requested' },
          pendingCommands: pending.flatMap((operation) =>
            operation.kind === 'allocation.create' ? [] : [operation.request as unknown as ReleaseCommand],
          ),
        };
      });
    },

    async transitionAllocation(order) {
      const result = await guarded(async () => {
        const moved = await db.tx((tx) => applyTransition(deps, tx, order));
        // The next step runs by the budgets of now, not by those of the admission.
        const budgets = await deps.policies.allocationBudgets();
        return moved.kind === 'done' ? { ...moved, budgets: taskBudgetsOf(budgets) } : moved;
      });
      deps.wake.relay(order.allocationId);
      return result;
    },

    refuseCommand({ allocationId, command }) {
      return guarded(async () => {
        const row = await findAllocation(db.q, allocationId);
        if (row === undefined) throw defect(`allocation ${allocationId} has no row`);
        const code = releaseRefusal(row.state, command.command);
        return code === undefined
          ? null
          : decideOperation(db.q, command.operationId, { kind: 'refused', code });
      });
    },

    async runNodeTask({ task, transition }) {
      const { workflowExecution, activityId, attempt, scheduleToCloseTimeoutMs } = activityInfo();
      if (workflowExecution === undefined) throw defect('a node task belongs to a workflow');
      const at = { workflowId: workflowExecution.workflowId, runId: workflowExecution.runId, activityId };
      const verdict = await guarded(async () => {
        const timeoutSeconds = scheduleToCloseTimeoutMs / 1000;
        return db.tx(async (tx) => {
          if (transition !== undefined) await applyTransition(deps, tx, transition);
          return dispatch(tx, task, { ...at, attempt, timeoutSeconds });
        });
      });
      if (verdict !== null) return verdict;
      deps.wake.node(task.nodeId);
      throw new CompleteAsyncError();
    },
  };
}

async function admit(
  deps: AllocationActivityDeps,
  tx: Tx,
  allocationId: AllocationId,
  request: AllocationRequest,
  budgets: TaskBudgets & { maxConcurrentPerUser: number; offlineAfterSeconds: number },
): Promise<Admission> {
  const operation = await lockOperation(tx, request.operationId);
  if (operation === undefined) throw defect(`operation ${request.operationId} has no row`);
  if (operation.outcome?.kind === 'refused') return { kind: 'refused', outcome: operation.outcome };
  const existing = await findAllocation(tx, allocationId);
  if (existing !== undefined) {
    const outcome = operation.outcome ?? { kind: 'accepted', state: 'requested' };
    return { kind: 'admitted', outcome, allocation: snapshotOf(existing, budgets) };
  }
  const refuse = async (code: ErrorCode): Promise<Admission> => ({
    kind: 'refused',
    outcome: await decideOperation(tx, request.operationId, { kind: 'refused', code }),
  });
  const refusal = await refusalOf(deps, tx, request, budgets.maxConcurrentPerUser);
  if (refusal !== undefined) return refuse(refusal);
  const { offlineAfterSeconds } = budgets;
  const nodeId = await deps.placements.takeWholeNode(tx, {
    sku: request.sku,
    allocationId,
    offlineAfterSeconds,
  });
  if (nodeId === undefined) return refuse('sku_unavailable');
  const unfunded = await deps.funds.hold(tx, request, allocationId);
  if (unfunded !== undefined) {
    await deps.placements.freePlacements(tx, allocationId);
    return refuse(unfunded);
  }
  const row = await insertAllocation(tx, allocationId, nodeId, request);
  await publishRequested(tx, row);
  const accepted: OperationOutcome = { kind: 'accepted', state: 'requested' };
  const outcome = await decideOperation(tx, request.operationId, accepted, allocationView(row, null));
  return { kind: 'admitted', outcome, allocation: snapshotOf(row, budgets) };
}

async function refusalOf(
  deps: AllocationActivityDeps,
  tx: Tx,
  request: AllocationRequest,
  maxConcurrentPerUser: number,
): Promise<ErrorCode | undefined> {
  if (!(await deps.catalog.isOffered(tx, request.sku))) return 'sku_not_found';
  if (!(await deps.identity.isProjectMember(tx, request.projectId, request.userId)))
    return 'project_not_found';
  await deps.identity.lockUser(tx, request.userId);
  if ((await countLive(tx, request.userId)) >= maxConcurrentPerUser) return 'allocation_concurrency_limit';
  return undefined;
}

async function applyTransition(
  deps: AllocationActivityDeps,
  tx: Tx,
  order: TransitionOrder,
): Promise<TransitionResult> {
  const { command } = order;
  const operation = command === null ? undefined : await lockOperation(tx, command.operationId);
  const written = operation?.outcome == null ? await moveOrStale(deps, tx, order) : await repeatOf(tx, order);
  if (written === 'stale') return { kind: 'stale' };
  if (written === null)
    return { kind: 'answered', outcome: operation?.outcome ?? { kind: 'accepted', state: order.to } };
  const { row } = written;
  if (written.kind === 'repeat') return { kind: 'done', version: row.version, state: row.state };
  await settlePlacements(deps, tx, row, order);
  await publishTransition(tx, row, order);
  if (order.event === 'force_release_requested') {
    await deps.audit.writeAudit(tx, {
      actorUserId: command?.actorUserId ?? null,
      actorRole: command?.actorRole ?? 'system',
      action: 'allocation.force_release',
      targetType: 'allocation',
      targetId: row.id,
      result: 'succeeded',
      correlationId: order.correlationId,
      details: { reason: order.reason ?? null, from_state: written.from },
    });
  }
  if (command !== null)
    await decideOperation(tx, command.operationId, { kind: 'accepted', state: row.state });
  return { kind: 'done', version: row.version, state: row.state };
}

/**
 * A wish may meet a row that is ahead: a workflow task was lost after its transition had committed, and the wish came
 * before that transition in the next one. For every other event a row that is ahead means a second writer.
 */
async function moveOrStale(
  deps: AllocationActivityDeps,
  tx: Tx,
  order: TransitionOrder,
): Promise<Awaited<ReturnType<typeof moveAllocation>> | 'stale'> {
  try {
    const stoppedAt = order.event === 'released' ? await deps.tasks.stoppedAt(tx, order.allocationId) : null;
    return await moveAllocation(tx, order, stoppedAt);
  } catch (error) {
    const wish = order.event === 'release_requested' || order.event === 'force_release_requested';
    if (wish && error instanceof SecondWriterError) return 'stale';
    throw error;
  }
}

/** The command has its outcome: either this very order wrote it (a lost attempt), or an earlier run did. */
async function repeatOf(
  tx: Tx,
  order: TransitionOrder,
): Promise<Awaited<ReturnType<typeof moveAllocation>> | null> {
  const row = await findAllocation(tx, order.allocationId);
  const mayBeOurs = row !== undefined && row.state === order.to && row.version > order.version;
  if (!mayBeOurs) return null;
  return { kind: 'repeat', row };
}

async function settlePlacements(
  deps: AllocationActivityDeps,
  tx: Tx,
  row: AllocationRow,
  order: TransitionOrder,
): Promise<void> {
  if (order.event !== 'released' && order.event !== 'provision_failed' && order.event !== 'release_failed')
    return;
  await deps.tasks.supersedeOpenTasks(tx, row.id);
  if (order.event === 'release_failed') return;
  if (order.event === 'released' || order.provenClean) await deps.placements.freePlacements(tx, row.id);
  else await deps.placements.quarantinePlacements(tx, row.id);
}

const snapshotOf = (row: AllocationRow, budgets: TaskBudgets): AllocationSnapshot => ({
  allocationId: asId(row.id),
  state: row.state,
  version: row.version,
  nodeId: asId(row.nodeId),
  orgId: asId(row.orgId),
  projectId: asId(row.projectId),
  correlationId: row.correlationId,
  budgets: taskBudgetsOf(budgets),
});

const taskBudgetsOf = ({
  taskTimeoutSeconds,
  taskAttempts,
  taskRetryMilliseconds,
}: TaskBudgets): TaskBudgets => ({
  taskTimeoutSeconds,
  taskAttempts,
  taskRetryMilliseconds,
});

const defect = (message: string): ApplicationFailure =>
  ApplicationFailure.create({ message, type: 'internal_error', nonRetryable: true });

/**
 * A second writer is a defect that no retry mends; everything else is an outage that ends. Failures travel into the
 * engine's history, so a failed statement is told by its code: its text holds names and keys.
 */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SecondWriterError || error instanceof OutdatedTaskError) throw defect(error.message);
    if (error instanceof ApplicationFailure) throw error;
    const state = sqlState(error);
    const message = state === undefined ? 'the work failed' : `the work failed with ${state}`;
    throw ApplicationFailure.create({ message, type: 'service_unavailable' });
  }
}
