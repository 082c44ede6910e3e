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
  continueAsNew,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  defineUpdate,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey } from '@temporalio/common';
import type {
  AllocationLocalActivities,
  TransitionOrder,
} from '../../contracts/allocations/allocation.activities.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import {
  isTerminalAllocationState,
  nextAllocationState,
  type AllocationEvent,
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
import { allocationWaits } from '../../contracts/allocations/allocation.waits.ts';
import { searchAttributes } from '../../contracts/queues.ts';
import { whileTaking } from '../lib/intents.ts';
import { cleanNode, prepareNode, type TaskContext } from './allocation.tasks.ts';

const outcome = defineUpdate<OperationOutcome>(outcomeUpdate);
const release = defineUpdate<OperationOutcome, [ReleaseCommand]>(releaseUpdate);
const stateAttribute = defineSearchAttributeKey(searchAttributes.state, 'KEYWORD');
const nodeAttribute = defineSearchAttributeKey(searchAttributes.nodeId, 'KEYWORD');

/** Short Postgres writes: retried until Postgres is back. */
const local = proxyLocalActivities<AllocationLocalActivities>({
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '30 seconds',
  retry: { initialInterval: '100 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
});

/** A wish to end the allocation: a command, or an operator's cancellation of the run (then without one). */
interface Intent {
  readonly kind: 'release' | 'force_release';
  readonly reason: string;
  readonly correlationId: string | null;
  readonly command?: ReleaseCommand;
}

/** Why a transition happens, and what it settles. */
interface Cause {
  readonly reason?: string;
  readonly intent?: Intent;
  readonly provenClean?: boolean;
}

export async function allocation(input: AllocationInput): Promise<AllocationState | 'refused'> {
  const intents: Intent[] = [];
  const answers = new Map<string, OperationOutcome>();
  let admission: OperationOutcome | undefined;
  let row: AllocationSnapshot | undefined;

  setHandler(outcome, async () => {
    await condition(() => admission !== undefined);
    return admission ?? neverUndecided();
  });
  setHandler(release, async (command) => {
    const known = (intent: Intent) => intent.command?.operationId === command.operationId;
    if (!answers.has(command.operationId) && !intents.some(known)) intents.push(intentOf(command));
    await condition(() => answers.has(command.operationId));
    return answers.get(command.operationId) ?? neverUndecided();
  });
  CancellationScope.current().cancelRequested.catch(() => {
    intents.push({ kind: 'force_release', reason: 'run cancelled by an operator', correlationId: null });
  });

  return CancellationScope.nonCancellable(async () => {
    const begun = await begin(input, intents);
    admission = begun.outcome;
    row = begun.row;
    if (row === undefined) return finish('refused');
    const driver = createDriver(row, intents, answers);
    while (!isTerminalAllocationState(driver.state())) await driver.step();
    await driver.refuseTheRest();
    return finish(driver.state());
  });
}

async function finish<T>(result: T): Promise<T> {
  await condition(allHandlersFinished);
  return result;
}

async function begin(
  input: AllocationInput,
  intents: Intent[],
): Promise<{ outcome: OperationOutcome; row: AllocationSnapshot | undefined }> {
  if (!input.resume) {
    const admitted = await local.admitAllocation({ allocationId: input.allocationId, request: input.request });
    return { outcome: admitted.outcome, row: admitted.kind === 'admitted' ? admitted.allocation : undefined };
  }
  const resumed = await local.resumeAllocation({ allocationId: input.allocationId });
  for (const command of resumed.pendingCommands) {
    const known = intents.some((intent) => intent.command?.operationId === command.operationId);
    if (!known) intents.push(intentOf(command));
  }
  return { outcome: resumed.outcome, row: resumed.allocation };
}

/** The state that this run knows, and one step for each of them. */
function createDriver(admitted: AllocationSnapshot, intents: Intent[], answers: Map<string, OperationOutcome>) {
  let { state, version } = admitted;
  const context: TaskContext = {
    allocationId: admitted.allocationId,
    nodeId: admitted.nodeId,
    correlationId: admitted.correlationId,
    budgets: admitted.budgets,
    reason: 'provisioning',
  };

  const order = (event: AllocationEvent, cause: Cause): TransitionOrder => ({
    allocationId: admitted.allocationId,
    version,
    from: state,
    event,
    to: nextAllocationState(state, event) ?? neverUndecided(),
    underWay: state === 'requested' ? 'provisioning_started' : null,
    correlationId: cause.intent?.correlationId ?? admitted.correlationId,
    reason: cause.reason ?? cause.intent?.reason ?? null,
    command: cause.intent?.command ?? null,
    provenClean: cause.provenClean ?? false,
  });

  async function transition(event: AllocationEvent, cause: Cause = {}): Promise<OperationOutcome | undefined> {
    const result = await local.transitionAllocation(order(event, cause));
    if (result.kind === 'answered') return result.outcome;
    ({ state, version } = result);
    show();
    return undefined;
  }

  function show(): void {
    const wait = allocationWaits[state];
    setCurrentDetails(`**${state}** on node \`${admitted.nodeId}\`\n\nwaits for: ${wait.waitingOn ?? 'nothing'}`);
    if (state === 'active' || state === 'releasing' || state === 'release_failed' || isTerminalAllocationState(state)) {
      upsertSearchAttributes([
        { key: stateAttribute, value: state },
        { key: nodeAttribute, value: admitted.nodeId },
      ]);
    }
  }

  /** Answers the oldest intent: a transition when the table allows it, a refusal otherwise. */
  async function takeIntent(): Promise<'go on' | 'stop'> {
    const intent = intents.shift();
    if (intent === undefined) return 'go on';
    const refusal = releaseRefusal(state, intent.kind);
    const answer = async (): Promise<'go on' | 'stop'> => {
      if (refusal !== undefined) {
        await answerWith(intent, { kind: 'refused', code: refusal });
        return 'go on';
      }
      const event = intent.kind === 'release' ? 'release_requested' : 'force_release_requested';
      const earlier = await transition(event, { intent });
      if (intent.command !== undefined) {
        answers.set(intent.command.operationId, earlier ?? { kind: 'accepted', state });
      }
      return earlier === undefined ? 'stop' : 'go on';
    };
    return answer();
  }

  async function answerWith({ command }: Intent, refused: OperationOutcome): Promise<void> {
    if (command === undefined) return;
    const stored = await local.refuseCommand({ allocationId: admitted.allocationId, command, outcome: refused });
    answers.set(command.operationId, stored);
  }

  async function provision(): Promise<void> {
    const first = state === 'requested' ? order('provisioning_started', {}) : undefined;
    const prepared = await whileTaking(
      intents,
      () =>
        prepareNode(context, first, () => {
          // A command may have moved the row on while the node's answer was under way.
          if (state !== 'requested') return;
          state = 'provisioning';
          version += 1;
          show();
        }),
      takeIntent,
    );
    if (prepared.kind === 'interrupted') return;
    if (prepared.kind === 'error') throw prepared.error;
    if (prepared.value.kind === 'done') {
      await transition('activated');
      return;
    }
    const undone = await cleanNode({ ...context, reason: 'provisioning failed' });
    await transition('provision_failed', { reason: prepared.value.reason, provenClean: undone.kind === 'done' });
  }

  async function awaitIntent(): Promise<void> {
    await condition(() => intents.length > 0 || workflowInfo().continueAsNewSuggested);
    if (intents.length > 0) {
      await takeIntent();
      return;
    }
    await condition(allHandlersFinished);
    await continueAsNew({ allocationId: admitted.allocationId, resume: true });
  }

  async function releaseNode(): Promise<void> {
    const cleaned = await whileTaking(intents, () => cleanNode({ ...context, reason: 'release' }), takeIntent);
    if (cleaned.kind === 'interrupted') return;
    if (cleaned.kind === 'error') throw cleaned.error;
    if (cleaned.value.kind === 'done') await transition('released', { provenClean: true });
    else await transition('release_failed', { reason: cleaned.value.reason });
  }

  const steps: Record<AllocationState, () => Promise<void>> = {
    requested: provision,
    provisioning: provision,
    active: awaitIntent,
    releasing: releaseNode,
    release_failed: awaitIntent,
    released: neverUndecided,
    failed: neverUndecided,
  };

  show();
  return {
    state: () => state,
    step: () => steps[state](),
    async refuseTheRest(): Promise<void> {
      for (let intent = intents.shift(); intent !== undefined; intent = intents.shift()) {
        await answerWith(intent, { kind: 'refused', code: 'allocation_not_active' });
      }
    },
  };
}

const intentOf = (command: ReleaseCommand): Intent => ({
  kind: command.command,
  reason: command.reason,
  correlationId: command.correlationId,
  command,
});

function neverUndecided(): never {
  throw new Error('unreachable: the state table allows no such step');
}
