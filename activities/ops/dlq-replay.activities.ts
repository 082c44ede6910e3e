/**
 * The side effects of a replay. Every one is idempotent: an attempt that committed and was lost is found again by its
 * operation, by its timeline row or by the replay's position among the letters.
 */
import { ApplicationFailure } from '@temporalio/common';
import { Context } from '@temporalio/activity';
import type {
  DlqPageLetter,
  DlqReplayActivities,
  DlqReplayLocalActivities,
  DlqReplayOrder,
} from '../../contracts/ops/dlq-replay.activities.ts';
import { isTerminalDlqReplayState } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { cancelRefusal } from '../../contracts/ops/dlq-replay.guards.ts';
import {
  dlqPageLetters,
  type DlqReplayRequest,
  type DlqReplaySnapshot,
} from '../../contracts/ops/dlq-replay.messages.ts';
import { asId, type DlqReplayId } from '../../contracts/ids.ts';
import { replaySubject } from '../../contracts/streams.ts';
import { writeAudit } from '../../db/audit.ts';
import { assertNoConnectionHeld, type Database, type Tx } from '../../db/client.ts';
import {
  findDeadLetter,
  letterTask,
  noteLetter,
  selectLetters,
} from '../../db/ops/dead-letter-desk.store.ts';
import type { DeadLetterRow, DlqReplayRow } from '../../db/ops/dead-letter.schema.ts';
import {
  cancelOf,
  decideDlqOperation,
  filterOf,
  findDlqReplay,
  insertDlqReplay,
  moveDlqReplay,
  readRequest,
} from '../../db/ops/dlq-replay.store.ts';
import { dlqReplayView } from '../../db/ops/dlq-replay.views.ts';
import { findOperation, lockUndecided, openOperationsOf } from '../../db/ops/operation.store.ts';
import { defect, guarded } from '../failures.ts';
import type { ReplayPort } from './dlq-replay.ports.ts';

export interface DlqReplayDeps {
  readonly db: Database;
  readonly replays: ReplayPort;
}

export function createDlqReplayActivities(
  deps: DlqReplayDeps,
): DlqReplayLocalActivities & DlqReplayActivities {
  const { db } = deps;
  return {
    openDlqReplay: ({ replayId, operationId }) =>
      guarded(() =>
        db.tx(async (tx) => {
          const request = await readRequest(tx, operationId);
          const { row, inserted } = await insertDlqReplay(tx, replayId, request);
          if (inserted) await auditRequest(tx, row, request);
          if (!row.dryRun) await accept(tx, row, operationId);
          return snapshotOf(row);
        }),
      ),

    resumeDlqReplay: ({ replayId }) =>
      guarded(async () => {
        const row = await rowOf(db, replayId);
        const pending = await openOperationsOf(db.q, replayId);
        const cancels = pending.filter((operation) => operation.kind === 'dlq_replay.cancel');
        return { replay: snapshotOf(row), pendingCancels: cancels.map(({ request }) => cancelOf(request)) };
      }),

    selectDlqPage: ({ replayId, afterSeq }) =>
      guarded(async () => {
        const row = await rowOf(db, replayId);
        const range = { afterSeq, throughSeq: row.throughSeq, limit: dlqPageLetters };
        return await selectLetters(db.q, filterOf(row), range);
      }),

    transitionDlqReplay: (order) => guarded(() => db.tx((tx) => transition(tx, order))),

    refuseDlqCancel: ({ replayId, command }) =>
      guarded(async () => {
        const row = await rowOf(db, replayId);
        const code = cancelRefusal(row.state);
        if (code === undefined) throw defect(`replay ${replayId} would take the command`);
        return await db.tx(async (tx) => {
          const first = await lockUndecided(tx, command.operationId);
          if (first) await auditCancel(tx, command, replayId, { result: 'refused', code });
          return await decideDlqOperation(tx, command.operationId, { kind: 'refused', code }, null);
        });
      }),

    publishDlqPage: (input) => guarded(() => publishPage(deps, input)),
  };
}

async function transition(tx: Tx, order: DlqReplayOrder): Promise<{ version: number }> {
  const { command, replayId } = order;
  const words =
    command === null ? undefined : (await findOperation(tx, command.operationId))?.request['reason'];
  const reason = typeof words === 'string' ? words : null;
  const { row, moved } = await moveDlqReplay(tx, order, reason);
  // A dry run is answered by its end.
  await accept(tx, row, row.createOperationId);
  if (command !== null) {
    await accept(tx, row, command.operationId);
    if (moved) await auditCancel(tx, command, replayId, { result: 'succeeded', reason });
  }
  return { version: row.version };
}

/** Answers an operation with the row as it is; one that was answered keeps its answer. */
const accept = (tx: Tx, row: DlqReplayRow, operationId: string) =>
  decideDlqOperation(tx, operationId, { kind: 'accepted', state: row.state }, { ...dlqReplayView(row) });

async function auditRequest(tx: Tx, row: DlqReplayRow, request: DlqReplayRequest): Promise<void> {
  const letterId = request.filter.dead_letter_id;
  const about =
    letterId === undefined
      ? { action: 'dlq_replay.create', targetType: 'dlq_replay', targetId: row.id }
      : { action: 'dead_letter.replay', targetType: 'dead_letter', targetId: letterId };
  const { filter, dryRun, reason, requestedBy, correlationId } = request;
  await writeAudit(tx, {
    actorUserId: requestedBy,
    actorRole: 'admin',
    ...about,
    result: 'succeeded',
    correlationId,
    details: { reason, dlq_replay_id: row.id, filter, dry_run: dryRun, matched: row.matched },
  });
}

async function auditCancel(
  tx: Tx,
  command: { readonly actorUserId: string; readonly correlationId: string },
  replayId: string,
  { result, ...details }: { readonly result: 'succeeded' | 'refused' } & Readonly<Record<string, unknown>>,
): Promise<void> {
  await writeAudit(tx, {
    actorUserId: command.actorUserId,
    actorRole: 'admin',
    action: 'dlq_replay.cancel',
    targetType: 'dlq_replay',
    targetId: replayId,
    result,
    correlationId: command.correlationId,
    details,
  });
}

/**
 * Sends the letters of a page one after the other, each noted before the next: what an attempt that was lost has sent is
 * at most the first one of what it left.
 */
async function publishPage(
  { db, replays }: DlqReplayDeps,
  { replayId, letters }: { readonly replayId: DlqReplayId; readonly letters: readonly DlqPageLetter[] },
): Promise<{ afterSeq: number }> {
  const { cancellationSignal, heartbeat } = Context.current();
  let first = true;
  for (const letter of letters) {
    // Another attempt, or another run, may be at work since this one began; what has ended sends nothing any more.
    const { state, afterSeq } = await rowOf(db, replayId);
    if (cancellationSignal.aborted || isTerminalDlqReplayState(state)) break;
    if (letter.seq <= afterSeq) continue;
    const row = await findDeadLetter(db.q, letter.id);
    const sent = row !== undefined && (await send(replays, row, letter, first));
    await db.tx((tx) => noteLetter(tx, replayId, letter, sent));
    first = false;
    heartbeat(letter.seq);
  }
  const { afterSeq } = await rowOf(db, replayId);
  return { afterSeq };
}

/** @returns false when there is nothing to send. */
async function send(
  replays: ReplayPort,
  row: DeadLetterRow,
  letter: DlqPageLetter,
  maybeSent: boolean,
): Promise<boolean> {
  const task = letterTask(row, letter);
  if (task !== 'send') return task === 'returned';
  const subject = subjectOf(row);
  if (subject === undefined) return false;
  const messageId = `${row.messageKey}/replay-${letter.attempt}`;
  assertNoConnectionHeld('nats');
  // JetStream forgets an id after its duplicate window, and an attempt may have been lost for longer.
  if (maybeSent && (await reached(() => replays.newestOn(subject))) === messageId) return true;
  const { body, correlationId, dlqSeq, consumer } = row;
  const { attempt } = letter;
  await reached(() =>
    replays.publish({ subject, messageId, attempt, body, correlationId, dlqSeq, consumer }),
  );
  return true;
}

/** Names what is away, for whoever looks at the run. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch {
    throw ApplicationFailure.create({
      message: 'JetStream does not take the letter',
      type: 'service_unavailable',
    });
  }
}

/** Undefined where a stranger's letter names what cannot be a subject. */
function subjectOf({ consumerGroup, subject }: DeadLetterRow): string | undefined {
  try {
    return replaySubject(consumerGroup, subject);
  } catch {
    return undefined;
  }
}

async function rowOf(db: Database, replayId: DlqReplayId): Promise<DlqReplayRow> {
  const row = await findDlqReplay(db.q, replayId);
  if (row === undefined) throw defect(`replay ${replayId} has no row`);
  return row;
}

const snapshotOf = (row: DlqReplayRow): DlqReplaySnapshot => ({
  replayId: asId<DlqReplayId>(row.id),
  state: row.state,
  version: row.version,
  dryRun: row.dryRun,
  matched: row.matched,
  afterSeq: row.afterSeq,
  correlationId: row.correlationId,
});
