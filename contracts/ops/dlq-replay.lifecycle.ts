/** States of a replay of many dead letters. */
export const dlqReplayTransitions = {
  running: { finished: 'completed', cancel_requested: 'cancelled' },
  completed: {},
  cancelled: {},
} as const satisfies Record<string, Record<string, string>>;

export type DlqReplayState = keyof typeof dlqReplayTransitions;
export const dlqReplayStates = Object.keys(dlqReplayTransitions) as [DlqReplayState, ...DlqReplayState[]];
