/**
 * The allocation's side effects. Every one is idempotent: an attempt that committed and was lost is found again by its
 * operation, by its timeline row or by its task row.
 */
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
import type { AllocationEvent } from '../../contracts/allocations/allocation.lifecycle.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import { asId, type AllocationId } from '../../contracts/ids.ts';
import {
  findAllocation,
  insertAllocation,
  moveAllocation,
  movedRow,
  readPosition,
  requestedAllocation,
  type Position,
} from '../../db/allocations/allocation.store.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { allocationView } from '../../db/allocations/allocation.views.ts';
import type { Queryable, Tx } from '../../db/client.ts';
import { admissionFacts, type AdmissionLimits } from '../../db/ops/admission.views.ts';
import { commandOf, decideOperation, lockUndecided, openOperationsOf } from '../../db/ops/operation.store.ts';
import type { OutboxEntry } from '../../db/outbox.ts';
import { SecondWriterError } from '../../db/timeline.ts';
import { defect, guarded as guardedBy } from '../failures.ts';
import { requestedEvent, transitionEvents } from './allocation.outbox.ts';
import type { AllocationActivityDeps } from './allocation.ports.ts';
import { OutdatedTaskError, nodeTaskDispatcher } from './allocation.tasks.ts';

export function createAllocationActivities(
  deps: AllocationActivityDeps,
): AllocationLocalActivities & NodeTaskActivities {
  const { db } = deps;
  const dispatcher = nodeTaskDispatcher(deps);
  return {
    async admitAllocation({ allocationId, request }) {
      const admission = await guarded(async () => {
        const budgets = await deps.policies.allocationBudgets();
        return db.tx((tx) => admit(deps, tx, { allocationId, request, budgets }));
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
            operation.kind === 'allocation.create' ? [] : [commandOf(operation.request)],
          ),
        };
      });
    },

    async transitionAllocation(order) {
      const result = await guarded(async () => {
        const moved = await applyTransition(deps, order);
        // The next step runs by the budgets of now, not by those of the admission.
        const budgets = await deps.policies.allocationBudgets();
        return moved.kind === 'done' ? { ...moved, budgets: taskBudgetsOf(budgets) } : moved;
      });
      deps.wake.relay(order.allocationId);
      return result;
    },

    refuseCommand: ({ allocationId, command }) =>
      guarded(() => db.tx((tx) => refuse(deps, tx, allocationId, command))),

    async runNodeTask({ task, transition }) {
      const { workflowExecution, activityId, attempt, scheduleToCloseTimeoutMs } = activityInfo();
      if (workflowExecution === undefined) throw defect('a node task belongs to a workflow');
      const at = { workflowId: workflowExecution.workflowId, runId: workflowExecution.runId, activityId };
      const verdict = await guarded(async () => {
        const timeoutSeconds = scheduleToCloseTimeoutMs / 1000;
        const by = { ...at, attempt, timeoutSeconds };
        if (await dispatcher.quickly(db.q, task, by, transition)) return null;
        if (transition === undefined) return dispatcher.dispatch(db.q, task, by);
        return db.tx(async (tx) => {
          await applyTransition(deps, transition, tx);
          return dispatcher.dispatch(tx, task, by);
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
  { allocationId, request, budgets }: Admitting,
): Promise<Admission> {
  await deps.identity.lockUser(tx, request.userId);
  const facts = await admissionFacts(tx, allocationId, request, budgets.maxConcurrentPerUser);
  if (facts === undefined) throw defect(`operation ${request.operationId} has no row`);
  if (facts.outcome?.kind === 'refused') return { kind: 'refused', outcome: facts.outcome };
  const accepted: OperationOutcome = { kind: 'accepted', state: 'requested' };
  if (facts.admitted) {
    const row = await findAllocation(tx, allocationId);
    if (row === undefined) throw defect(`allocation ${allocationId} is gone`);
    return { kind: 'admitted', outcome: facts.outcome ?? accepted, allocation: snapshotOf(row, budgets) };
  }
  const refuse = async (code: ErrorCode): Promise<Admission> => ({
    kind: 'refused',
    outcome: await decideOperation(tx, request.operationId, { kind: 'refused', code }),
  });
  if (facts.refusal !== null) return refuse(facts.refusal);
  const { offlineAfterSeconds } = budgets;
  const wanted = { sku: request.sku, allocationId, offlineAfterSeconds };
  const nodeId = await deps.placements.takeWholeNode(tx, wanted);
  if (nodeId === undefined) return refuse('sku_unavailable');
  const unfunded = await deps.funds.hold(tx, request, allocationId);
  if (unfunded !== undefined) {
    await deps.placements.freePlacements(tx, allocationId);
    return refuse(unfunded);
  }
  const row = requestedAllocation(allocationId, nodeId, request, facts.now);
  const outcome = await insertAllocation(tx, row, {
    events: [requestedEvent(row)],
    outcome: accepted,
    response: allocationView(row, null),
  });
  return { kind: 'admitted', outcome, allocation: snapshotOf(row, budgets) };
}

interface Admitting {
  readonly allocationId: AllocationId;
  readonly request: AllocationRequest;
  readonly budgets: TaskBudgets & AdmissionLimits;
}

/** How often a transition is decided anew because its row or its command changed between the reading and the writing. */
const maxRounds = 10;

/** Reads, decides, and writes at exactly the version that was read (D-0011). */
async function applyTransition(
  deps: AllocationActivityDeps,
  order: TransitionOrder,
  q: Queryable = deps.db.q,
): Promise<TransitionResult> {
  for (let round = 1; round <= maxRounds; round += 1) {
    const [position, stoppedAt] = await Promise.all([
      readPosition(q, order),
      order.event === 'released' ? deps.tasks.stoppedAt(q, order.allocationId) : null,
    ]);
    const { row: from } = position;
    if (position.outcome !== null) return answeredEarlier(position, order, position.outcome);
    const to = movedOrStale(position, order, stoppedAt);
    if (to === 'stale') return { kind: 'stale' };
    if (to === undefined) return { kind: 'done', version: from.version, state: from.state };
    const reason = order.reason ?? position.commandReason;
    const events = transitionEvents(to, order, reason);
    if (await writeTransition(deps, q, { from, to, order, reason, events }))
      return { kind: 'done', version: to.version, state: to.state };
  }
  throw new Error(`${order.event} found no quiet moment of ${order.allocationId}`);
}

/** The command has its outcome: either this very order wrote it (a lost attempt), or an earlier run did. */
function answeredEarlier(
  { row }: Position,
  order: TransitionOrder,
  outcome: OperationOutcome,
): TransitionResult {
  const isOurs = row.state === order.to && row.version > order.version;
  return isOurs ? { kind: 'done', version: row.version, state: row.state } : { kind: 'answered', outcome };
}

/**
 * A wish may meet a row that is ahead: a workflow task was lost after its transition had committed, and the wish came
 * before that transition in the next one. For every other event a row that is ahead means a second writer.
 */
function movedOrStale(
  position: Position,
  order: TransitionOrder,
  stoppedAt: Date | null,
): AllocationRow | undefined | 'stale' {
  try {
    return movedRow(position, order, stoppedAt);
  } catch (error) {
    const wish = order.event === 'release_requested' || order.event === 'force_release_requested';
    if (wish && error instanceof SecondWriterError) return 'stale';
    throw error;
  }
}

interface Move {
  readonly from: AllocationRow;
  readonly to: AllocationRow;
  readonly order: TransitionOrder;
  readonly reason: string | null;
  readonly events: readonly OutboxEntry[];
}

/** The events that settle nothing but the allocation itself: one statement is their transaction. */
const plainEvents: readonly AllocationEvent[] = ['provisioning_started', 'activated', 'release_requested'];

/** @returns false when nothing was written: the row is not any more what was read. */
async function writeTransition(deps: AllocationActivityDeps, q: Queryable, move: Move): Promise<boolean> {
  if (plainEvents.includes(move.order.event)) return await moveAllocation(q, move);
  return await deps.db.tx(async (tx) => {
    // First: it locks the row, and no task is queued behind it any more.
    if (!(await moveAllocation(tx, move))) return false;
    await settle(deps, tx, move);
    return true;
  });
}

/** What goes with a transition in other domains: the node's tasks and slots, the audit of a force. */
async function settle(deps: AllocationActivityDeps, tx: Tx, { from, order, reason }: Move): Promise<void> {
  const { event, allocationId, command } = order;
  if (event === 'force_release_requested') {
    await deps.audit.writeAudit(tx, {
      actorUserId: command?.actorUserId ?? null,
      actorRole: command?.actorRole ?? 'system',
      action: 'allocation.force_release',
      targetType: 'allocation',
      targetId: allocationId,
      result: 'succeeded',
      correlationId: order.correlationId,
      details: { reason, from_state: from.state },
    });
    return;
  }
  if (event === 'released' || (event === 'provision_failed' && order.provenClean)) {
    await deps.placements.giveBackNode(tx, allocationId);
    return;
  }
  await deps.tasks.supersedeOpenTasks(tx, allocationId);
  if (event === 'provision_failed') await deps.placements.quarantinePlacements(tx, allocationId);
}

/** The refusal that the row's state calls for, with its audit row; null when the row would take the command. */
async function refuse(
  deps: AllocationActivityDeps,
  tx: Tx,
  allocationId: AllocationId,
  command: ReleaseCommand,
): Promise<OperationOutcome | null> {
  const row = await findAllocation(tx, allocationId);
  if (row === undefined) throw defect(`allocation ${allocationId} has no row`);
  const code = releaseRefusal(row.state, command.command);
  if (code === undefined) return null;
  // An attempt that committed and was lost has left its audit row with its outcome.
  const first = await lockUndecided(tx, command.operationId);
  const outcome = await decideOperation(tx, command.operationId, { kind: 'refused', code });
  if (first && command.command === 'force_release') {
    await deps.audit.writeAudit(tx, {
      actorUserId: command.actorUserId,
      actorRole: command.actorRole,
      action: 'allocation.force_release',
      targetType: 'allocation',
      targetId: allocationId,
      result: 'refused',
      correlationId: command.correlationId,
      details: { code },
    });
  }
  return outcome;
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

const guarded = <T>(work: () => Promise<T>): Promise<T> =>
  guardedBy(work, (error) => error instanceof OutdatedTaskError);
