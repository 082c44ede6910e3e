/** Starts and commands allocation runs, and says honestly what became of it when the engine does not answer. */
import { createHash } from 'node:crypto';
import {
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  isGrpcServiceError,
  type Client,
} from '@temporalio/client';
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
import { channelOf } from '../../contracts/channels.ts';
import { assertNoConnectionHeld } from '../../db/client.ts';

/** How long a caller waits for the engine's answer before it gets 202 or 503. */
const answerDeadlineMs = 5000;
/** How long the check may take whether the engine has the run at all. */
const describeDeadlineMs = 1000;
/** A workflow task that was started on a worker that died is given to another after this. */
const workflowTaskTimeout = '3 seconds';

/** `pending`: the engine has it and will decide. `unknown`: nobody can say; the same key finds out. */
export type CommandResult =
  | { readonly kind: 'decided'; readonly outcome: OperationOutcome }
  | { readonly kind: 'pending' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'unknown'; readonly cause: unknown };

/**
 * Never a caller's raw key: engines compare update ids of all callers, and their length is bounded. A command that an
 * event gives has the event's subject as route and an id of the event as key: that id is nobody else's, and is taken.
 */
export const updateIdOf = (caller: string, route: string, key: string): string =>
  channelOf(route) === undefined
    ? createHash('sha256').update(`${caller}\n${route}\n${key}`).digest('base64url')
    : key;

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
  return answered(client, allocationId, () =>
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
  return answered(client, allocationId, () =>
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
  return answered(client, allocationId, () =>
    client.workflow.executeUpdateWithStart<Workflow, OperationOutcome, [ReleaseCommand]>(releaseUpdate, {
      startWorkflowOperation,
      updateId,
      args: [order],
    }),
  );
}

async function answered(
  client: Client,
  allocationId: AllocationId,
  call: () => Promise<OperationOutcome>,
): Promise<CommandResult> {
  try {
    return { kind: 'decided', outcome: await client.withDeadline(Date.now() + answerDeadlineMs, call) };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || error instanceof WorkflowExecutionAlreadyStartedError) {
      return { kind: 'closed' };
    }
    const mayBeUnderWay =
      error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
      error instanceof ServiceError ||
      error instanceof WorkflowUpdateFailedError ||
      isGrpcServiceError(error);
    if (!mayBeUnderWay) throw error;
    return (await hasOpenRun(client, allocationId)) ? { kind: 'pending' } : { kind: 'unknown', cause: error };
  }
}

/** An engine that is down and one that is slow raise the same error: only a look can tell them apart. */
async function hasOpenRun(client: Client, allocationId: AllocationId): Promise<boolean> {
  try {
    const handle = client.workflow.getHandle(allocationWorkflowId(allocationId));
    const seen = await client.withDeadline(Date.now() + describeDeadlineMs, () => handle.describe());
    return seen.status.name === 'RUNNING';
  } catch {
    return false;
  }
}
