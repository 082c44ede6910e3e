/** Starts and commands allocation runs, and says honestly what became of it when the engine does not answer. */
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
import { allocationWorkflowId, type AllocationId } from '../../contracts/ids.ts';
import { searchAttributes, taskQueues } from '../../contracts/queues.ts';
import { assertNoConnectionHeld } from '../../db/client.ts';
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
