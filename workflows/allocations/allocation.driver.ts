/**
 * Moves one allocation from state to state: one step for each state, intents taken one by one in between. The workflow
 * owns the story, this class the position in it.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyLocalActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { ApplicationFailure, defineSearchAttributeKey } from '@temporalio/common';
import type {
  AllocationLocalActivities,
  TransitionOrder,
  TransitionResult,
} from '../../contracts/allocations/allocation.activities.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import {
  nextAllocationState,
  type AllocationEvent,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import type {
  AllocationSnapshot,
  OperationOutcome,
  ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { allocationWaits } from '../../contracts/allocations/allocation.waits.ts';
import { searchAttributes } from '../../contracts/queues.ts';
import { whileTaking, type Taken } from '../lib/intents.ts';
import { cleanNode, prepareNode, type TaskContext } from './allocation.tasks.ts';

const stateAttribute = defineSearchAttributeKey(searchAttributes.state, 'KEYWORD');
const nodeAttribute = defineSearchAttributeKey(searchAttributes.nodeId, 'KEYWORD');
/** States that operators search for; each upsert costs one event, so the passing ones are left out. */
const searchableStates: readonly AllocationState[] = [
  'active',
  'releasing',
  'release_failed',
  'released',
  'failed',
];

/** Short Postgres writes: retried until Postgres is back. */
export const local = proxyLocalActivities<AllocationLocalActivities>({
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '30 seconds',
  retry: { initialInterval: '100 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
});

/** A wish to end the allocation: a command, or an operator's cancellation of the run (then without one). */
interface Intent {
  readonly kind: 'release' | 'force_release';
  /** Null with a command: its words stay in the operation's row. */
  readonly reason: string | null;
  readonly correlationId: string | null;
  readonly command: ReleaseCommand | null;
}

/** Wishes that wait for the main loop, and the answers to those that do not wait any more. */
export interface Inbox {
  readonly intents: Intent[];
  readonly answers: Map<string, OperationOutcome>;
  /** Records a command once. */
  put(command: ReleaseCommand): void;
  cancel(): void;
}

export function createInbox(): Inbox {
  const intents: Intent[] = [];
  const answers = new Map<string, OperationOutcome>();
  return {
    intents,
    answers,
    put(command) {
      const waits = intents.some((intent) => intent.command?.operationId === command.operationId);
      if (waits || answers.has(command.operationId)) return;
      const { correlationId } = command;
      intents.push({ kind: command.command, reason: null, correlationId, command });
    },
    cancel() {
      const reason = 'run cancelled by an operator';
      intents.push({ kind: 'force_release', reason, correlationId: null, command: null });
    },
  };
}

/** Why a transition happens, and what it settles. */
interface Cause {
  readonly reason?: string;
  readonly intent?: Intent;
  readonly provenClean?: boolean;
}

export class AllocationDriver {
  #row: AllocationSnapshot;
  readonly #inbox: Inbox;
  #state: AllocationState;
  #version: number;

  constructor(row: AllocationSnapshot, inbox: Inbox) {
    this.#row = row;
    this.#inbox = inbox;
    this.#state = row.state;
    this.#version = row.version;
    this.#show();
  }

  get state(): AllocationState {
    return this.#state;
  }

  /** One step of the state that it is in. A step that was interrupted by an intent has moved the state. */
  step(): Promise<void> {
    const steps: Record<AllocationState, () => Promise<void>> = {
      requested: () => this.#provision(),
      provisioning: () => this.#provision(),
      active: () => this.#awaitIntent(),
      releasing: () => this.#release(),
      release_failed: () => this.#awaitIntent(),
      released: () => Promise.resolve(),
      failed: () => Promise.resolve(),
    };
    return steps[this.#state]();
  }

  /** At the end: refuses what still comes in, until no caller waits for an answer any more. */
  async drain(): Promise<void> {
    const { intents } = this.#inbox;
    for (;;) {
      await condition(() => intents.length > 0 || allHandlersFinished());
      const intent = intents.shift();
      if (intent === undefined) return;
      if (!(await this.#refuse(intent))) throw impossible('an ended allocation would take a command');
    }
  }

  async #provision(): Promise<void> {
    const first = this.#state === 'requested' ? this.#order('provisioning_started', {}) : undefined;
    const prepared = await whileTaking(
      this.#inbox.intents,
      () => prepareNode(this.#context('provisioning'), first, () => this.#started()),
      () => this.#take(),
    );
    if (prepared.kind === 'interrupted') return;
    if (prepared.kind === 'error') throw prepared.error;
    if (prepared.value.kind === 'done') {
      await this.#transition('activated', {});
      return;
    }
    const { reason } = prepared.value;
    const undone = await whileTaking(
      this.#inbox.intents,
      () => cleanNode(this.#context('provisioning failed')),
      () => this.#take(),
    );
    if (undone.kind === 'interrupted') return;
    if (undone.kind === 'error') throw undone.error;
    await this.#transition('provision_failed', { reason, provenClean: undone.value.kind === 'done' });
  }

  async #awaitIntent(): Promise<void> {
    const full = () => workflowInfo().continueAsNewSuggested && allHandlersFinished();
    await condition(() => this.#inbox.intents.length > 0 || full());
    if (this.#inbox.intents.length > 0) {
      if ((await this.#take()) === 'later') await this.#catchUp();
    } else await continueAsNew({ allocationId: this.#row.allocationId, resume: true });
  }

  async #release(): Promise<void> {
    const cleaned = await whileTaking(
      this.#inbox.intents,
      () => cleanNode(this.#context('release')),
      () => this.#take(),
    );
    if (cleaned.kind === 'interrupted') return;
    if (cleaned.kind === 'error') throw cleaned.error;
    if (cleaned.value.kind === 'done') await this.#transition('released', { provenClean: true });
    else await this.#transition('release_failed', { reason: cleaned.value.reason });
  }

  /** The row is ahead although no step was under way: a command committed and its workflow task was lost with it. */
  async #catchUp(): Promise<void> {
    const { allocation } = await local.resumeAllocation({ allocationId: this.#row.allocationId });
    this.#row = allocation;
    this.#state = allocation.state;
    this.#version = allocation.version;
    this.#show();
  }

  /** The transition that travelled with the first task has happened; a command may have moved the row on since. */
  #started(): void {
    if (this.#state !== 'requested') return;
    this.#state = 'provisioning';
    this.#version += 1;
    this.#show();
  }

  /** Answers the oldest intent: by a transition where the table allows it, by a refusal otherwise. */
  async #take(): Promise<Taken> {
    const { intents } = this.#inbox;
    const intent = intents.shift();
    if (intent === undefined) return 'go on';
    const taken = await this.#answer(intent);
    // The row is ahead: what this step waits for has happened, and the wish is for the state after it.
    if (taken === 'later') intents.unshift(intent);
    return taken;
  }

  async #answer(intent: Intent): Promise<Taken> {
    const refused = releaseRefusal(this.#state, intent.kind) !== undefined;
    if (refused) return (await this.#refuse(intent)) ? 'go on' : 'later';
    const event = intent.kind === 'release' ? 'release_requested' : 'force_release_requested';
    const result = await this.#transition(event, { intent });
    if (result.kind === 'stale') return 'later';
    const answer: OperationOutcome =
      result.kind === 'answered' ? result.outcome : { kind: 'accepted', state: result.state };
    if (intent.command !== null) this.#inbox.answers.set(intent.command.operationId, answer);
    return result.kind === 'answered' ? 'go on' : 'stop';
  }

  /** @returns false when the row would take the command. */
  async #refuse({ command }: Intent): Promise<boolean> {
    if (command === null) return true;
    const outcome = await local.refuseCommand({ allocationId: this.#row.allocationId, command });
    if (outcome !== null) this.#inbox.answers.set(command.operationId, outcome);
    return outcome !== null;
  }

  async #transition(event: AllocationEvent, cause: Cause): Promise<TransitionResult> {
    const result = await local.transitionAllocation(this.#order(event, cause));
    if (result.kind !== 'done') return result;
    this.#state = result.state;
    this.#version = result.version;
    if (result.budgets !== undefined) this.#row = { ...this.#row, budgets: result.budgets };
    this.#show();
    return result;
  }

  #order(event: AllocationEvent, { intent, reason, provenClean }: Cause): TransitionOrder {
    const to = nextAllocationState(this.#state, event);
    if (to === undefined) throw impossible(`the state table has no ${event} in ${this.#state}`);
    const travelling = this.#state === 'requested' && event !== 'provisioning_started';
    return {
      allocationId: this.#row.allocationId,
      version: this.#version,
      from: this.#state,
      event,
      to,
      underWay: travelling ? 'provisioning_started' : null,
      correlationId: intent?.correlationId ?? this.#row.correlationId,
      reason: reason ?? intent?.reason ?? null,
      command: intent?.command ?? null,
      provenClean: provenClean ?? false,
    };
  }

  #context(reason: string): TaskContext {
    const { allocationId, nodeId, correlationId, budgets } = this.#row;
    return {
      allocationId,
      nodeId,
      correlationId,
      budgets,
      reason,
      show: (wait) => this.#tell(wait, this.#state === 'requested' ? 'provisioning' : this.#state),
    };
  }

  /** What an operator sees of it in the Temporal UI: attributes to search by, and what it waits for. */
  #show(): void {
    this.#tell(allocationWaits[this.#state].waitingOn);
    if (!searchableStates.includes(this.#state)) return;
    upsertSearchAttributes([
      { key: stateAttribute, value: this.#state },
      { key: nodeAttribute, value: this.#row.nodeId },
    ]);
  }

  /**
   * Current details: they live in the run's memory and add no event. While the first task is under way the row is
   * `provisioning` already; the run learns it with the node's verdict.
   */
  #tell(waitingOn: string | null, state: AllocationState = this.#state): void {
    setCurrentDetails(`**${state}** on node \`${this.#row.nodeId}\`\n\nwaits for: ${waitingOn ?? 'nothing'}`);
  }
}

/** A defect of ours: ends the run visibly; the row goes on under a new one. */
const impossible = (message: string): ApplicationFailure =>
  ApplicationFailure.create({ message, type: 'internal_error', nonRetryable: true });
