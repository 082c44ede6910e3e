import type { ErrorCode } from '../errors.ts';
import { strangersGroup, type DeadLetterState } from './dead-letter.ts';
import { nextDlqReplayState, type DlqReplayState } from './dlq-replay.lifecycle.ts';

/** What of a letter decides whether an operator may do something about it. */
export interface LetterStanding {
  readonly state: DeadLetterState;
  /** Its consumer has the effect. */
  readonly resolved: boolean;
  readonly consumerGroup: string;
  /** Its body is not whole. */
  readonly isCut: boolean;
}

/**
 * Why one letter cannot be replayed by name; undefined when it can. One that was replayed and has shown no effect may
 * be replayed again: its message may be lost.
 */
export function replayRefusal(letter: LetterStanding): ErrorCode | undefined {
  if (letter.consumerGroup === strangersGroup || letter.isCut) return 'dead_letter_not_replayable';
  return discardRefusal(letter);
}

/**
 * Why a letter cannot be discarded; undefined when it can. One that was replayed and has shown no effect may be: nobody
 * would ever close one whose message names no event. When its replay fails after all, it is open again.
 */
export const discardRefusal = ({
  state,
  resolved,
}: Pick<LetterStanding, 'state' | 'resolved'>): ErrorCode | undefined =>
  state === 'open' || (state === 'replayed' && !resolved) ? undefined : 'dead_letter_not_open';

/** Why a replay cannot be cancelled; undefined when it can. Called by the API and by the workflow's last word. */
export const cancelRefusal = (state: DlqReplayState): ErrorCode | undefined =>
  nextDlqReplayState(state, 'cancel_requested') === undefined ? 'dlq_replay_not_running' : undefined;
