/**
 * Starts the missing run of every replay that has not ended, and of every one that was asked for and never begun; sends
 * cancellations once more that nobody has answered. Lost processes cost time, never a letter.
 */
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { updateIdOf } from '../../api/engine.ts';
import { cancelReplay, refuseCancel, startReplayIfMissing } from '../../api/ops/dlq-replay.commands.ts';
import { asId, type DlqReplayId } from '../../contracts/ids.ts';
import type { DlqReplayInput } from '../../contracts/ops/dlq-replay.messages.ts';
import type { Database } from '../../db/client.ts';
import { cancelOf, findDlqReplay, runningDlqReplays } from '../../db/ops/dlq-replay.store.ts';
import { staleOpenOperations } from '../../db/ops/operation.store.ts';

/** Replays run one by one, by hand: more than one page of them would be a wonder. */
const pageSize = 500;
/** What is undecided for less is on its normal way. */
const undecidedAgeSeconds = 15;
const nilUuid = '00000000-0000-0000-0000-000000000000';

export interface MissingReplaysDeps {
  readonly db: Database;
  readonly client: Client;
  readonly log: Logger;
}

/** One sweep. @returns how many runs it started. */
export async function startMissingReplays(
  deps: MissingReplaysDeps,
  ageSeconds: number = undecidedAgeSeconds,
): Promise<number> {
  const { db } = deps;
  let started = 0;
  for (const row of await runningDlqReplays(db.q, nilUuid, pageSize)) {
    const replayId = asId<DlqReplayId>(row.id);
    if (await start(deps, { replayId, resume: true }, row.correlationId)) started += 1;
  }
  for (const operation of await staleOpenOperations(db.q, 'dlq_replay.create', ageSeconds, pageSize)) {
    const replayId = asId<DlqReplayId>(operation.entityId);
    if ((await findDlqReplay(db.q, replayId)) !== undefined) continue;
    const input = { replayId, resume: false, operationId: asId(operation.id) } as const;
    if (await start(deps, input as DlqReplayInput, operation.correlationId)) started += 1;
  }
  await deliverCancels(deps, ageSeconds);
  return started;
}

async function start(
  deps: MissingReplaysDeps,
  input: DlqReplayInput,
  correlationId: string,
): Promise<boolean> {
  const { client, log } = deps;
  try {
    if (!(await startReplayIfMissing(client, input, correlationId))) return false;
  } catch (error) {
    log.warn({ dlq_replay_id: input.replayId, error }, 'a missing replay cannot be started');
    return false;
  }
  log.warn({ dlq_replay_id: input.replayId, resume: input.resume }, 'started a missing replay');
  return true;
}

async function deliverCancels({ db, client }: MissingReplaysDeps, ageSeconds: number): Promise<void> {
  for (const operation of await staleOpenOperations(db.q, 'dlq_replay.cancel', ageSeconds, pageSize)) {
    const replayId = asId<DlqReplayId>(operation.entityId);
    const order = cancelOf(operation.request);
    if (await refuseCancel(db, replayId, order)) continue;
    const updateId = updateIdOf(operation.caller, operation.route, operation.key);
    await cancelReplay(client, replayId, order, updateId);
  }
}
