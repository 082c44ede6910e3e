/** Starts and cancels replays of dead letters, and says honestly what became of it when the engine does not answer. */
import {
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  type Client,
} from '@temporalio/client';
import { TypedSearchAttributes, defineSearchAttributeKey, type Workflow } from '@temporalio/common';
import type { ErrorCode } from '../../contracts/errors.ts';
import { dlqReplayWorkflowId, type DlqReplayId } from '../../contracts/ids.ts';
import { cancelRefusal } from '../../contracts/ops/dlq-replay.guards.ts';
import {
  dlqReplayCancelUpdate,
  dlqReplayOutcomeUpdate,
  dlqReplayWorkflowType,
  type DlqReplayCancel,
  type DlqReplayInput,
} from '../../contracts/ops/dlq-replay.messages.ts';
import { searchAttributes, taskQueues } from '../../contracts/queues.ts';
import { writeAudit } from '../../db/audit.ts';
import { assertNoConnectionHeld, type Database, type Tx } from '../../db/client.ts';
import { getDlqReplayView } from '../../db/ops/dlq-replay.views.ts';
import { decideOperation, lockUndecided } from '../../db/ops/operation.store.ts';
import { answered, workflowTaskTimeout, type EngineAnswer } from '../engine.ts';

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
): Promise<EngineAnswer<unknown>> {
  assertNoConnectionHeld('temporal');
  const startWorkflowOperation = new WithStartWorkflowOperation(dlqReplayWorkflowType, {
    ...startOptions(input, correlationId),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
  });
  return answered(client, dlqReplayWorkflowId(input.replayId), () =>
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
): Promise<EngineAnswer<unknown>> {
  assertNoConnectionHeld('temporal');
  const startWorkflowOperation = new WithStartWorkflowOperation(dlqReplayWorkflowType, {
    ...startOptions({ replayId, resume: true }, command.correlationId),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
  });
  return answered(client, dlqReplayWorkflowId(replayId), () =>
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

/**
 * Decides a cancellation that the replay cannot take in the state that its row has now, with its audit row; one that
 * is decided stays as it is.
 * @returns false when the replay would take it.
 */
export const refuseCancel = (
  db: Database,
  replayId: DlqReplayId,
  command: DlqReplayCancel,
): Promise<boolean> =>
  db.tx(async (tx) => {
    if (!(await lockUndecided(tx, command.operationId))) return true;
    const found = await getDlqReplayView(tx, replayId);
    const code = found === undefined ? 'dlq_replay_not_found' : cancelRefusal(found.state);
    if (code === undefined) return false;
    await auditCancelRefused(tx, replayId, command, code);
    await decideOperation(tx, command.operationId, { kind: 'refused', code });
    return true;
  });

/** The audit row of a cancellation that was refused; it goes with the outcome. */
export const auditCancelRefused = (
  tx: Tx,
  replayId: string,
  command: Pick<DlqReplayCancel, 'actorUserId' | 'correlationId'>,
  code: ErrorCode,
): Promise<void> =>
  writeAudit(tx, {
    actorUserId: command.actorUserId,
    actorRole: 'admin',
    action: 'dlq_replay.cancel',
    targetType: 'dlq_replay',
    targetId: replayId,
    result: 'refused',
    correlationId: command.correlationId,
    details: { code },
  });
