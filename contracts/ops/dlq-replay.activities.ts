/** Activity interfaces of a replay of dead letters; implemented in `activities/ops/dlq-replay.activities.ts`. */
import type { DlqReplayId, OperationId } from '../ids.ts';
import type { DlqReplayEvent, DlqReplayState } from './dlq-replay.lifecycle.ts';
import type { DlqReplayCancel, DlqReplayOutcome, DlqReplaySnapshot } from './dlq-replay.messages.ts';

/** A letter as a page names it. */
export interface DlqPageLetter {
  readonly id: string;
  /** Order among the letters. */
  readonly seq: number;
  /** How often it had arrived when the page was made: one that has come back since was sent already. */
  readonly arrivals: number;
  /** Which replay of the letter this is, from 1. */
  readonly attempt: number;
}

/** A state change as the workflow orders it. */
export interface DlqReplayOrder {
  readonly replayId: DlqReplayId;
  /** The version that the workflow last saw; the row must still have it. */
  readonly version: number;
  readonly from: DlqReplayState;
  readonly event: DlqReplayEvent;
  readonly to: DlqReplayState;
  readonly correlationId: string;
  /** The command that caused it, answered in the same transaction. */
  readonly command: DlqReplayCancel | null;
}

/** Run as local activities: short, idempotent Postgres work. */
export interface DlqReplayLocalActivities {
  /** Inserts the row with what matches now; the operation's answer is stored unless it is a dry run. */
  openDlqReplay(input: {
    readonly replayId: DlqReplayId;
    readonly operationId: OperationId;
  }): Promise<DlqReplaySnapshot>;
  /** Reads the row of a resumed run and the commands that nobody has answered. */
  resumeDlqReplay(input: { readonly replayId: DlqReplayId }): Promise<{
    readonly replay: DlqReplaySnapshot;
    readonly pendingCancels: readonly DlqReplayCancel[];
  }>;
  /** The next letters after `afterSeq`, in order; none when there are no more. Changes nothing. */
  selectDlqPage(input: {
    readonly replayId: DlqReplayId;
    readonly afterSeq: number;
  }): Promise<readonly DlqPageLetter[]>;
  /** The only writer of `dlq_replays.state`, with timeline, audit and the operations' outcomes. */
  transitionDlqReplay(order: DlqReplayOrder): Promise<{ readonly version: number }>;
  /** Refuses a command that came when the replay had ended; the first outcome stands. */
  refuseDlqCancel(input: {
    readonly replayId: DlqReplayId;
    readonly command: DlqReplayCancel;
  }): Promise<DlqReplayOutcome>;
}

/** What waits for JetStream. */
export interface DlqReplayActivities {
  /**
   * Publishes each letter of a page once, to the consumer group that gave it up, and notes each in its row. Stops between
   * two letters when it is cancelled.
   * @returns the order number of the last letter that was dealt with.
   */
  publishDlqPage(input: {
    readonly replayId: DlqReplayId;
    readonly letters: readonly DlqPageLetter[];
  }): Promise<{ readonly afterSeq: number }>;
}
