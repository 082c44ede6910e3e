/**
 * Purpose: sends dead letters again, each to the one consumer group that gave it up, each once, whatever dies in between.
 *
 * Identity: `dlq-replay-<id>`; the row `dlq_replays` is the truth, this run is its driver and may be started again from
 * the row at any time (`resume`).
 *
 * States:
 *   running -finished-> completed
 *   running -cancel_requested-> cancelled
 *
 * Who else may change this row: nobody. `openDlqReplay` inserts it, `publishDlqPage` moves its position and its counts,
 * `transitionDlqReplay` its state at the exact version that this run saw.
 *
 * Unwinding: none. What was sent stays sent: its effect is the consumer's business, and happens once.
 *
 * Idempotency keys: the operation for the request and for a cancellation; (replay, version) for transitions; the number
 * of the letter's replay, kept in this history before it is sent, for messages: `<event id>/replay-<n>`.
 *
 * Timeouts: one attempt at a page 60 s, and 10 s without a letter; nothing else. While JetStream is away a page is tried
 * until it is back, or until the replay is cancelled.
 */
import {
  ActivityCancellationType,
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineUpdate,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey } from '@temporalio/common';
import type {
  DlqPageLetter,
  DlqReplayActivities,
  DlqReplayLocalActivities,
} from '../../contracts/ops/dlq-replay.activities.ts';
import {
  isTerminalDlqReplayState,
  nextDlqReplayState,
  type DlqReplayEvent,
  type DlqReplayState,
} from '../../contracts/ops/dlq-replay.lifecycle.ts';
import {
  dlqPageLetters,
  dlqReplayCancelUpdate,
  dlqReplayOutcomeUpdate,
  type DlqReplayCancel,
  type DlqReplayInput,
  type DlqReplayOutcome,
  type DlqReplaySnapshot,
} from '../../contracts/ops/dlq-replay.messages.ts';
import { dlqReplayWaits } from '../../contracts/ops/dlq-replay.waits.ts';
import { searchAttributes } from '../../contracts/queues.ts';
import { whileTaking } from '../lib/intents.ts';

/** Pause after a full page: at most a hundred letters a second reach the consumers beside their usual work. */
const pausePerPageMs = 1000;

const stateAttribute = defineSearchAttributeKey(searchAttributes.state, 'KEYWORD');

/** Short Postgres work: retried until Postgres is back. */
const local = proxyLocalActivities<DlqReplayLocalActivities>({
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '30 seconds',
  retry: { initialInterval: '100 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
});

/** A page of letters: retried until JetStream is back. A cancelled one ends after the letter in hand. */
const pageOptions = {
  startToCloseTimeout: '60 seconds',
  heartbeatTimeout: '10 seconds',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '500 milliseconds', backoffCoefficient: 2, maximumInterval: '10 seconds' },
} as const;

/** A wish to end early: a command, or an operator's cancellation of the run (then null). */
type Wish = DlqReplayCancel | null;

interface Inbox {
  readonly wishes: Wish[];
  readonly answers: Map<string, DlqReplayOutcome>;
}

const outcome = defineUpdate<DlqReplayState>(dlqReplayOutcomeUpdate);
const cancel = defineUpdate<DlqReplayOutcome, [DlqReplayCancel]>(dlqReplayCancelUpdate);

export async function dlqReplay(input: DlqReplayInput): Promise<DlqReplayState> {
  const inbox: Inbox = { wishes: [], answers: new Map() };
  const { wishes, answers } = inbox;
  let replay: Replay | undefined;

  setHandler(outcome, async () => {
    await condition(() => replay?.isAnswered === true);
    return replay?.state ?? 'running';
  });
  setHandler(cancel, async (command) => {
    put(inbox, command);
    await condition(() => answers.has(command.operationId));
    return answers.get(command.operationId) as DlqReplayOutcome;
  });
  // An operator's cancellation of the run is a wish like any other: the row must not stay `running`.
  CancellationScope.current().cancelRequested.catch(() => wishes.push(null));

  return CancellationScope.nonCancellable(async () => {
    replay = new Replay(await begin(input, inbox), inbox);
    while (!isTerminalDlqReplayState(replay.state)) await replay.step();
    await replay.drain();
    return replay.state;
  });
}

/** The row: made now, or that of a run that is started again with the commands that it has not answered. */
async function begin(input: DlqReplayInput, inbox: Inbox): Promise<DlqReplaySnapshot> {
  const { replayId } = input;
  if (!input.resume) return await local.openDlqReplay({ replayId, operationId: input.operationId });
  const resumed = await local.resumeDlqReplay({ replayId });
  for (const command of resumed.pendingCancels) put(inbox, command);
  return resumed.replay;
}

/** Records a command once. */
function put({ wishes, answers }: Inbox, command: DlqReplayCancel): void {
  const waits = wishes.some((wish) => wish?.operationId === command.operationId);
  if (!waits && !answers.has(command.operationId)) wishes.push(command);
}

class Replay {
  readonly #row: DlqReplaySnapshot;
  readonly #inbox: Inbox;
  #state: DlqReplayState;
  #version: number;
  #afterSeq: number;

  constructor(row: DlqReplaySnapshot, inbox: Inbox) {
    this.#row = row;
    this.#inbox = inbox;
    this.#state = row.state;
    this.#version = row.version;
    this.#afterSeq = row.afterSeq;
    this.#show();
  }

  get state(): DlqReplayState {
    return this.#state;
  }

  /** True when whoever asked for it can be answered: a dry run, with its end. */
  get isAnswered(): boolean {
    return !this.#row.dryRun || isTerminalDlqReplayState(this.#state);
  }

  /** One page, or the end. */
  async step(): Promise<void> {
    const { wishes } = this.#inbox;
    if (wishes.length > 0) return this.#cancel();
    if (workflowInfo().continueAsNewSuggested && allHandlersFinished()) {
      await continueAsNew({ replayId: this.#row.replayId, resume: true });
    }
    const letters = this.#row.dryRun ? [] : await this.#select();
    if (letters.length === 0) return this.#transition('finished', null);
    const sent = await whileTaking(
      wishes,
      () => this.#publish(letters),
      () => Promise.resolve('stop' as const),
    );
    if (sent.kind === 'error') throw sent.error;
    if (sent.kind !== 'value') return;
    this.#afterSeq = sent.value;
    this.#show();
    if (letters.length === dlqPageLetters) await condition(() => wishes.length > 0, pausePerPageMs);
  }

  /** At the end: refuses what still comes in, until no caller waits for an answer any more. */
  async drain(): Promise<void> {
    const { wishes, answers } = this.#inbox;
    const { replayId } = this.#row;
    for (;;) {
      await condition(() => wishes.length > 0 || allHandlersFinished());
      const command = wishes.shift();
      if (command === undefined) return;
      if (command !== null)
        answers.set(command.operationId, await local.refuseDlqCancel({ replayId, command }));
    }
  }

  #select(): Promise<readonly DlqPageLetter[]> {
    return local.selectDlqPage({ replayId: this.#row.replayId, afterSeq: this.#afterSeq });
  }

  async #publish(letters: readonly DlqPageLetter[]): Promise<number> {
    const { publishDlqPage } = proxyActivities<DlqReplayActivities>({
      ...pageOptions,
      summary: `${letters.length} letters after ${this.#afterSeq}`,
    });
    const { afterSeq } = await publishDlqPage({ replayId: this.#row.replayId, letters });
    return afterSeq;
  }

  async #cancel(): Promise<void> {
    const { wishes, answers } = this.#inbox;
    const command = wishes.shift() ?? null;
    await this.#transition('cancel_requested', command);
    if (command !== null) answers.set(command.operationId, { kind: 'accepted', state: this.#state });
  }

  async #transition(event: DlqReplayEvent, command: Wish): Promise<void> {
    const { replayId, correlationId } = this.#row;
    const from = this.#state;
    const to = nextDlqReplayState(from, event);
    if (to === undefined) throw new Error(`the state table has no ${event} in ${from}`);
    const order = { replayId, version: this.#version, from, event, to, command };
    const { version } = await local.transitionDlqReplay({
      ...order,
      correlationId: command?.correlationId ?? correlationId,
    });
    this.#state = to;
    this.#version = version;
    this.#show();
  }

  /** What an operator sees of it in the Temporal UI. */
  #show(): void {
    const { dryRun, matched } = this.#row;
    const what = dryRun ? 'a dry run' : `replays ${matched} dead letters, now after ${this.#afterSeq}`;
    setCurrentDetails(
      `**${this.#state}**: ${what}\n\nwaits for: ${dlqReplayWaits[this.#state] ?? 'nothing'}`,
    );
    if (this.#state !== 'running') upsertSearchAttributes([{ key: stateAttribute, value: this.#state }]);
  }
}
