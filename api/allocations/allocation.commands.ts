/**
 * Starts and commands allocation runs, and says honestly what became of it when the engine does not answer; decides what
 * no run is left to take.
 */
import { WithStartWorkflowOperation, type Client } from '@temporalio/client';
import { TypedSearchAttributes, defineSearchAttributeKey, type Workflow } from '@temporalio/common';
import {
  allocationWorkflowType,
  outcomeUpdate,
  releaseUpdate,
  type AllocationInput,
  type AllocationRequest,
  type OperationOutcome,
  type ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import { CodedError, type ErrorCode } from '../../contracts/errors.ts';
import { allocationWorkflowId, type AllocationId } from '../../contracts/ids.ts';
import { searchAttributes, taskQueues } from '../../contracts/queues.ts';
import { getAllocationView } from '../../db/allocations/allocation.views.ts';
import { writeAudit } from '../../db/audit.ts';
import { assertNoConnectionHeld, type Database, type Tx } from '../../db/client.ts';
import { decideOperation, findOperation, lockUndecided } from '../../db/ops/operation.store.ts';
import { answered, workflowTaskTimeout, type EngineAnswer } from '../engine.ts';

export type CommandResult = EngineAnswer<OperationOutcome>;

const keywords = {
  orgId: defineSearchAttributeKey(searchAttributes.orgId, 'KEYWORD'),
  projectId: defineSearchAttributeKey(searchAttributes.projectId, 'KEYWORD'),
  kind: defineSearchAttributeKey(searchAttributes.kind, 'KEYWORD'),
  state: defineSearchAttributeKey(searchAttributes.state, 'KEYWORD'),
  correlationId: defineSearchAttributeKey(searchAttributes.correlationId, 'KEYWORD'),
};

/** Start options of an allocation's run; the one place that names them. */
export function startOptions(
  input: AllocationInput,
  about: Pick<AllocationRequest, 'orgId' | 'projectId' | 'correlationId'>,
) {
  return {
    workflowId: allocationWorkflowId(input.allocationId),
    taskQueue: taskQueues.provisioning,
    args: [input] as [AllocationInput],
    workflowTaskTimeout,
    staticSummary: `allocation ${input.allocationId}`,
    typedSearchAttributes: new TypedSearchAttributes([
      { key: keywords.orgId, value: about.orgId },
      { key: keywords.projectId, value: about.projectId },
      { key: keywords.kind, value: allocationWorkflowType },
      { key: keywords.state, value: 'requested' },
      { key: keywords.correlationId, value: about.correlationId },
    ]),
  };
}

/** Update-with-start: admission's outcome, whoever started the run first. */
export async function admit(
  client: Client,
  allocationId: AllocationId,
  request: AllocationRequest,
  updateId: string,
): Promise<CommandResult> {
  assertNoConnectionHeld('temporal');
  const startWorkflowOperation = new WithStartWorkflowOperation(allocationWorkflowType, {
    ...startOptions({ allocationId, resume: false, request }, request),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
  });
  return answered(client, allocationWorkflowId(allocationId), () =>
    client.workflow.executeUpdateWithStart<Workflow, OperationOutcome, []>(outcomeUpdate, {
      startWorkflowOperation,
      updateId,
    }),
  );
}

/** Commands an open run; `closed` when there is none. */
export function command(
  client: Client,
  allocationId: AllocationId,
  order: ReleaseCommand,
  updateId: string,
): Promise<CommandResult> {
  assertNoConnectionHeld('temporal');
  const handle = client.workflow.getHandle(allocationWorkflowId(allocationId));
  return answered(client, allocationWorkflowId(allocationId), () =>
    handle.executeUpdate<OperationOutcome, [ReleaseCommand]>(releaseUpdate, { args: [order], updateId }),
  );
}

/** Starts the missing run of a live row and commands it. */
export function resumeAndCommand(
  client: Client,
  about: Pick<AllocationRequest, 'orgId' | 'projectId' | 'correlationId'> & {
    readonly allocationId: AllocationId;
  },
  order: ReleaseCommand,
  updateId: string,
): Promise<CommandResult> {
  assertNoConnectionHeld('temporal');
  const { allocationId } = about;
  const startWorkflowOperation = new WithStartWorkflowOperation(allocationWorkflowType, {
    ...startOptions({ allocationId, resume: true }, about),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
  });
  return answered(client, allocationWorkflowId(allocationId), () =>
    client.workflow.executeUpdateWithStart<Workflow, OperationOutcome, [ReleaseCommand]>(releaseUpdate, {
      startWorkflowOperation,
      updateId,
      args: [order],
    }),
  );
}

/**
 * Decides a command that no run is left to take, by the state that its row has now; a force-release leaves its audit
 * row with the outcome.
 * @returns the outcome, also one that was there before; undefined when the row would take the command.
 * @throws CodedError allocation_not_found.
 */
export const refuseClosed = (
  db: Database,
  order: ReleaseCommand,
  allocationId: string,
): Promise<OperationOutcome | undefined> =>
  db.tx(async (tx) => {
    if (!(await lockUndecided(tx, order.operationId))) {
      return (await findOperation(tx, order.operationId))?.outcome ?? undefined;
    }
    const found = await getAllocationView(tx, allocationId, undefined);
    if (found === undefined) throw new CodedError('allocation_not_found');
    const code = releaseRefusal(found.row.state, order.command);
    if (code === undefined) return undefined;
    await auditRefused(tx, order, allocationId, code);
    return await decideOperation(tx, order.operationId, { kind: 'refused', code });
  });

/** A force-release that is refused leaves its audit row with the outcome; a user's release is no privileged act. */
export async function auditRefused(
  tx: Tx,
  order: ReleaseCommand,
  targetId: string,
  code: ErrorCode,
): Promise<void> {
  if (order.command !== 'force_release') return;
  await writeAudit(tx, {
    actorUserId: order.actorUserId,
    actorRole: order.actorRole,
    action: 'allocation.force_release',
    targetType: 'allocation',
    targetId,
    result: 'refused',
    correlationId: order.correlationId,
    details: { code },
  });
}
