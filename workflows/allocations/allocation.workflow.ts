/**
 * Purpose: gives a tenant a whole node and takes it back, whatever fails in between.
 *
 * Identity: `allocation-<id>`; the row `allocations` is the truth, this run is its driver and may be started again from
 * the row at any time (`resume`).
 *
 * States:
 *   requested -provisioning_started-> provisioning
 *   requested -provision_failed-> failed
 *   requested -release_requested-> releasing
 *   requested -force_release_requested-> releasing
 *   provisioning -activated-> active
 *   provisioning -provision_failed-> failed
 *   provisioning -release_requested-> releasing
 *   provisioning -force_release_requested-> releasing
 *   active -release_requested-> releasing
 *   active -force_release_requested-> releasing
 *   releasing -force_release_requested-> releasing
 *   releasing -released-> released
 *   releasing -release_failed-> release_failed
 *   release_failed -release_requested-> releasing
 *   release_failed -force_release_requested-> releasing
 *
 * Who else may change this row: nobody. Admission inserts it, `transitionAllocation` and the dispatch of the first node
 * task move it, both on behalf of this run and both at the exact version that it saw.
 *
 * Unwinding: a node that was touched is cleaned and proven clean before its slots are free; when that cannot be proven
 * the slots are quarantined. A failed release keeps the node assigned and waits, without a timeout.
 *
 * Idempotency keys: the operation for admission and commands; (allocation, version) for transitions; (workflow, run,
 * activity) for node tasks.
 *
 * Timeouts: one node task `allocation.task_timeout_seconds`, attempts `allocation.task_attempts`; nothing else ends a
 * run.
 */
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  defineUpdate,
  setHandler,
} from '@temporalio/workflow';
import {
  isTerminalAllocationState,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import {
  outcomeUpdate,
  releaseUpdate,
  type AllocationInput,
  type AllocationSnapshot,
  type OperationOutcome,
  type ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { AllocationDriver, createInbox, local, type Inbox } from './allocation.driver.ts';

const outcome = defineUpdate<OperationOutcome>(outcomeUpdate);
const release = defineUpdate<OperationOutcome, [ReleaseCommand]>(releaseUpdate);

export async function allocation(input: AllocationInput): Promise<AllocationState | 'refused'> {
  const inbox = createInbox();
  let admission: OperationOutcome | undefined;

  setHandler(outcome, async () => {
    await condition(() => admission !== undefined);
    return admission as OperationOutcome;
  });
  setHandler(release, async (command) => {
    inbox.put(command);
    await condition(() => inbox.answers.has(command.operationId));
    return inbox.answers.get(command.operationId) as OperationOutcome;
  });
  // An operator's cancellation of the run is a wish like any other: the node is still given back in order.
  CancellationScope.current().cancelRequested.catch(() => inbox.cancel());

  return CancellationScope.nonCancellable(async () => {
    const begun = await begin(input, inbox);
    admission = begun.outcome;
    if (begun.row === undefined) {
      await condition(allHandlersFinished);
      return 'refused';
    }
    const driver = new AllocationDriver(begun.row, inbox);
    while (!isTerminalAllocationState(driver.state)) await driver.step();
    await driver.drain();
    return driver.state;
  });
}

/** Admission, or the row of a run that is started again. No row: the request was refused. */
async function begin(
  input: AllocationInput,
  inbox: Inbox,
): Promise<{ outcome: OperationOutcome; row: AllocationSnapshot | undefined }> {
  if (!input.resume) {
    const admitted = await local.admitAllocation({
      allocationId: input.allocationId,
      request: input.request,
    });
    return { outcome: admitted.outcome, row: admitted.kind === 'admitted' ? admitted.allocation : undefined };
  }
  const resumed = await local.resumeAllocation({ allocationId: input.allocationId });
  for (const command of resumed.pendingCommands) inbox.put(command);
  return { outcome: resumed.outcome, row: resumed.allocation };
}
