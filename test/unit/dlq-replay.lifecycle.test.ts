import { describe, expect, it } from 'vitest';
import { isErrorCode, type ErrorCode } from '../../contracts/errors.ts';
import { deadLetterStates, type DeadLetterState } from '../../contracts/ops/dead-letter.ts';
import { cancelRefusal, discardRefusal, replayRefusal } from '../../contracts/ops/dlq-replay.guards.ts';
import {
  dlqReplayEvents,
  dlqReplayStates,
  isTerminalDlqReplayState,
  nextDlqReplayState,
  type DlqReplayEvent,
  type DlqReplayState,
} from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { dlqReplayWaits } from '../../contracts/ops/dlq-replay.waits.ts';

const none = '-';

/** state, event, next state; `-` where the event is impossible. In the order of declaration. */
// prettier-ignore
const transitions: readonly (readonly [DlqReplayState, DlqReplayEvent, DlqReplayState | typeof none])[] = [
  ['running',   'finished',         'completed'],
  ['running',   'cancel_requested', 'cancelled'],

  ['completed', 'finished',         '-'],
  ['completed', 'cancel_requested', '-'],

  ['cancelled', 'finished',         '-'],
  ['cancelled', 'cancel_requested', '-'],
];

describe('the state table of a replay', () => {
  it.each(transitions)('%s, %s -> %s', (state, event, next) => {
    expect(nextDlqReplayState(state, event) ?? none).toBe(next);
  });

  it('is covered: every pair once, in the order of declaration', () => {
    const pairs = dlqReplayStates.flatMap((state) => dlqReplayEvents.map((event) => `${state} ${event}`));
    expect(transitions.map(([state, event]) => `${state} ${event}`)).toEqual(pairs);
  });

  it('ends in completed and cancelled, and waits for nothing there', () => {
    expect(dlqReplayStates.filter(isTerminalDlqReplayState)).toEqual(['completed', 'cancelled']);
    const waiting = dlqReplayStates.filter((state) => dlqReplayWaits[state] !== null);
    expect(waiting).toEqual(['running']);
  });
});

/** state, resolved, group, what a replay by name answers, what discarding answers; `-` where it is taken. */
// prettier-ignore
const letters: readonly (readonly [DeadLetterState, boolean, string, ErrorCode | '-', ErrorCode | '-'])[] = [
  ['open',      false, 'billing', '-',                          '-'],
  ['open',      false, 'unknown', 'dead_letter_not_replayable', '-'],
  ['replayed',  false, 'billing', '-',                          '-'],
  ['replayed',  true,  'billing', 'dead_letter_not_open',       'dead_letter_not_open'],
  ['discarded', false, 'billing', 'dead_letter_not_open',       'dead_letter_not_open'],
  ['discarded', false, 'unknown', 'dead_letter_not_replayable', 'dead_letter_not_open'],
];

describe('the guards', () => {
  it.each(letters)(
    'letter %s, resolved %s, of %s: replay %s, discard %s',
    (state, resolved, group, ...codes) => {
      const [replay, discard] = codes;
      const standing = { state, resolved, consumerGroup: group };
      expect(replayRefusal({ ...standing, isCut: false }) ?? none).toBe(replay);
      expect(replayRefusal({ ...standing, isCut: true })).toBe('dead_letter_not_replayable');
      expect(discardRefusal({ state, resolved }) ?? none).toBe(discard);
      for (const code of codes) expect(code === none || isErrorCode(code)).toBe(true);
    },
  );

  it('are covered: every state of a letter, and of a replay', () => {
    expect([...new Set(letters.map(([state]) => state))]).toEqual([...deadLetterStates]);
    expect(dlqReplayStates.map((state) => cancelRefusal(state) ?? none)).toEqual([
      none,
      'dlq_replay_not_running',
      'dlq_replay_not_running',
    ]);
  });
});
