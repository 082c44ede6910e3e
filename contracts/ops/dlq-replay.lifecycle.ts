/** States and events of a replay of dead letters, as data; `requested` creates it. */
export const dlqReplayTransitions = {
  running: { finished: 'completed', cancel_requested: 'cancelled' },
  completed: {},
  cancelled: {},
} as const satisfies Record<string, Record<string, string>>;

export type DlqReplayState = keyof typeof dlqReplayTransitions;
export const dlqReplayStates = Object.keys(dlqReplayTransitions) as [DlqReplayState, ...DlqReplayState[]];

/** Every event that moves a replay. */
export const dlqReplayEvents = ['finished', 'cancel_requested'] as const;
export type DlqReplayEvent = (typeof dlqReplayEvents)[number];

/** The state that an event leads to, or undefined where the table has no such pair. */
export function nextDlqReplayState(from: DlqReplayState, event: DlqReplayEvent): DlqReplayState | undefined {
  const row: Partial<Record<DlqReplayEvent, DlqReplayState>> = dlqReplayTransitions[from];
  return row[event];
}

/** True for a state that nothing leaves. */
export const isTerminalDlqReplayState = (state: DlqReplayState): boolean =>
  Object.keys(dlqReplayTransitions[state]).length === 0;
