/** What travels between API, workflow and activities of a replay of dead letters: ids, numbers and states only. */
import type { ErrorCode } from '../errors.ts';
import type { DlqReplayId, OperationId, UserId } from '../ids.ts';
import type { DeadLetterReason } from './dead-letter.ts';
import type { DlqReplayState } from './dlq-replay.lifecycle.ts';

/** `WorkflowType` of the run. */
export const dlqReplayWorkflowType = 'dlqReplay';
/** Update that answers when the replay has its row; for a dry run, when it has ended. */
export const dlqReplayOutcomeUpdate = 'outcome';
/** Update by which an admin ends a replay early. */
export const dlqReplayCancelUpdate = 'cancel';

/** Letters of one page: one activity, one step of the progress. */
export const dlqPageLetters = 100;

/** States from which a letter may be sent: `replayed` is one that was sent and shows no effect, so it may be lost. */
export const replayableStates = ['open', 'replayed'] as const;

/** Which letters a replay takes, as its row keeps it; what is absent does not restrict, but for the state. */
export interface DlqReplayFilter {
  /** `open` when absent; of a letter that is named, either. */
  readonly state?: (typeof replayableStates)[number];
  readonly dead_letter_id?: string;
  readonly subject?: string;
  /** Name of the durable consumer. */
  readonly consumer?: string;
  readonly reason?: DeadLetterReason;
  /** RFC 3339 instant: only letters whose newest arrival was earlier. */
  readonly arrived_before?: string;
}

/** What was asked for; kept in the operation's row, from which the run's first activity reads it. */
export interface DlqReplayRequest {
  readonly operationId: OperationId;
  readonly filter: DlqReplayFilter;
  readonly dryRun: boolean;
  readonly requestedBy: UserId;
  readonly reason: string;
  readonly correlationId: string;
}

/** Start argument. With `resume` the run continues the row; without it `operationId` names the request. */
export type DlqReplayInput =
  | { readonly replayId: DlqReplayId; readonly resume: false; readonly operationId: OperationId }
  | { readonly replayId: DlqReplayId; readonly resume: true };

/** A wish to end the replay early; why it was given stays in the operation's row. */
export interface DlqReplayCancel {
  readonly operationId: OperationId;
  readonly actorUserId: UserId;
  readonly correlationId: string;
}

/** What became of a command. */
export type DlqReplayOutcome =
  | { readonly kind: 'accepted'; readonly state: DlqReplayState }
  | { readonly kind: 'refused'; readonly code: ErrorCode };

/** What the workflow knows of the row. */
export interface DlqReplaySnapshot {
  readonly replayId: DlqReplayId;
  readonly state: DlqReplayState;
  readonly version: number;
  readonly dryRun: boolean;
  readonly matched: number;
  /** Order number of the last letter that was dealt with. */
  readonly afterSeq: number;
  readonly correlationId: string;
}
