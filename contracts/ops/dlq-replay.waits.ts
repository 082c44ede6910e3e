import type { DlqReplayState } from './dlq-replay.lifecycle.ts';

/** What a replay waits for in each state, as the API and the Temporal UI say it; null: nothing. */
export const dlqReplayWaits = {
  running: 'JetStream to take the letters',
  completed: null,
  cancelled: null,
} as const satisfies Record<DlqReplayState, string | null>;
