/** Starts and cancels replays of dead letters, and says honestly what became of it when the engine does not answer. */
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
import { dlqReplayWorkflowId, type DlqReplayId } from '../../contracts/ids.ts';
import {
  dlqReplayCancelUpdate,
  dlqReplayOutcomeUpdate,
  dlqReplayWorkflowType,
  type DlqReplayCancel,
  type DlqReplayInput,
} from '../../contracts/ops/dlq-replay.messages.ts';
import { searchAttributes, taskQueues } from '../../contracts/queues.ts';
import { assertNoConnectionHeld } from '../../db/client.ts';

/** How long a caller waits for the engine's answer before it gets 202 or 503. */
const answerDeadlineMs = 5000;
/** How long the check may take whether the engine has the run at all. */
const describeDeadlineMs = 1000;
/** A workflow task that was started on a worker that died is given to another after this. */
const workflowTaskTimeout = '3 seconds';

/** `decided`: the operation's row has it. `pending`: the engine will decide. `unknown`: the same key finds out. */
export type ReplayCommandResult = 'decided' | 'pending' | 'closed' | 'unknown';

/** Never a caller's raw key: engines compare update ids of all callers, and their length is bounded. */
export const replayUpdateIdOf = (caller: string, route: string, key: string): string =>
  createHash('sha256').update(`${caller}\n${route}\n${key}`).digest('base64url');

const keywords = {
  kind: defineSearchAttributeKey(searchAttributes.kind, 'KEYWORD'),
  state: defineSearchAttributeKey(searchAttributes.state, 'KEYWORD'),
  correlationId: defineSearchAttributeKey(searchAttributes.correlationId, 'KEYWORD'),
};

/** Start options of a replay's run; the one place that names them. */
const startOptions = (input: DlqReplayInput, correlationId: string) => ({
  workflowId: dlqReplayWorkflowId(input.replayId),
  taskQueue: taskQueues.ops,
  args: [input] as [DlqReplayInput],
  workflowTaskTimeout,
  staticSummary: `replay of dead letters ${input.replayId}`,
  typedSearchAttributes: new TypedSearchAttributes([
    { key: keywords.kind, value: 'dlq-replay' },
    { key: keywords.state, value: 'running' },
    { key: keywords.correlationId, value: correlationId },
  ]),
});

/** Starts a replay, or finds it, and waits until it can answer. */
export function beginReplay(
  client: Client,
  input: DlqReplayInput & { readonly resume: false },
  correlationId: string,
  updateId: string,
): Promise<ReplayCommandResult> {
  assertNoConnectionHeld('temporal');
  const startWorkflowOperation = new WithStartWorkflowOperation(dlqReplayWorkflowType, {
    ...startOptions(input, correlationId),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
  });
  return answered(client, input.replayId, () =>
    client.workflow.executeUpdateWithStart<Workflow, unknown, []>(dlqReplayOutcomeUpdate, {
      startWorkflowOperation,
      updateId,
    }),
  );
}

/** Cancels a replay; its run is started again if it is missing. */
export function cancelReplay(
  client: Client,
  replayId: DlqReplayId,
  command: DlqReplayCancel,
  updateId: string,
): Promise<ReplayCommandResult> {
  assertNoConnectionHeld('temporal');
  const startWorkflowOperation = new WithStartWorkflowOperation(dlqReplayWorkflowType, {
    ...startOptions({ replayId, resume: true }, command.correlationId),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
  });
  return answered(client, replayId, () =>
    client.workflow.executeUpdateWithStart<Workflow, unknown, [DlqReplayCancel]>(dlqReplayCancelUpdate, {
      startWorkflowOperation,
      updateId,
      args: [command],
    }),
  );
}

/** Starts a run unless it is there. @returns true when it did. @throws the engine's error. */
export async function startReplayIfMissing(
  client: Client,
  input: DlqReplayInput,
  correlationId: string,
): Promise<boolean> {
  assertNoConnectionHeld('temporal');
  try {
    await client.workflow.start(dlqReplayWorkflowType, {
      ...startOptions(input, correlationId),
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

async function answered(
  client: Client,
  replayId: DlqReplayId,
  call: () => Promise<unknown>,
): Promise<ReplayCommandResult> {
  try {
    await client.withDeadline(Date.now() + answerDeadlineMs, call);
    return 'decided';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || error instanceof WorkflowExecutionAlreadyStartedError) {
      return 'closed';
    }
    const mayBeUnderWay =
      error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
      error instanceof ServiceError ||
      error instanceof WorkflowUpdateFailedError ||
      isGrpcServiceError(error);
    if (!mayBeUnderWay) throw error;
    return (await hasOpenRun(client, replayId)) ? 'pending' : 'unknown';
  }
}

/** An engine that is down and one that is slow raise the same error: only a look can tell them apart. */
async function hasOpenRun(client: Client, replayId: DlqReplayId): Promise<boolean> {
  try {
    const handle = client.workflow.getHandle(dlqReplayWorkflowId(replayId));
    const seen = await client.withDeadline(Date.now() + describeDeadlineMs, () => handle.describe());
    return seen.status.name === 'RUNNING';
  } catch {
    return false;
  }
}
