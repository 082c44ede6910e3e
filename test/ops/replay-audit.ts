/** What a replay must not leave behind: read from the tables, the stream and the engine, not from the replay's own words. */
import { sql } from 'drizzle-orm';
import type { NatsConnection } from 'nats';
import type { Client } from '@temporalio/client';
import type { DlqReplayState } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import type { Database } from '../../db/client.ts';
import { findDlqReplay } from '../../db/ops/dlq-replay.store.ts';
import { until, type Lab } from '../harness/lab.ts';
import { lettersOf, resentOn } from './letters.ts';

/** One replay of all letters of a subject, and how it ends. */
export interface ReplayExpectation {
  readonly replayId: string;
  readonly subject: string;
  readonly state: DlqReplayState;
}

interface AuditedWorld {
  readonly db: Database;
  readonly nc: NatsConnection;
  readonly temporal: Client;
}

/** Findings about one replay; none means that its promises were kept. */
export async function auditReplay(world: AuditedWorld, expected: ReplayExpectation): Promise<string[]> {
  const { replayId, subject, state } = expected;
  const row = await findDlqReplay(world.db.q, replayId);
  if (row === undefined) return [`${subject}: the replay has no row`];
  const letters = await lettersOf(world.db, subject);
  const sent = await resentOn(world.nc, subject);
  const findings: string[] = [];
  const check = (holds: boolean, what: string): void => {
    if (!holds) findings.push(`${subject}: ${what}`);
  };
  check(letters.length > 0, 'there are no letters');
  check(row.state === state, `it is ${row.state}, not ${state}`);
  for (const letter of letters) {
    const own = sent.filter((message) => message.messageId.startsWith(`${letter.messageKey}/`));
    const wanted = Array.from({ length: letter.replays }, (_, n) => `${letter.messageKey}/replay-${n + 1}`);
    const ids = own.map((message) => message.messageId);
    check(
      ids.join() === wanted.join(),
      `letter ${letter.seq} was sent ${ids.length} times, not ${wanted.length}`,
    );
    check(
      own.every((message) => message.body === letter.body.toString()),
      `letter ${letter.seq} was changed`,
    );
    const open = letter.state === 'open';
    check(open || letter.replays > 0, `letter ${letter.seq} counts as replayed and was not`);
    check(!open || state !== 'completed', `letter ${letter.seq} was left open`);
  }
  const noted = letters.filter((letter) => letter.replays > 0).length;
  check(row.replayed === noted, `it counts ${row.replayed} letters, ${noted} are noted`);
  const told = await world.db.q.execute<{ seqs: string }>(
    sql`select string_agg(seq::text, ',' order by seq) as seqs from timeline where entity_id = ${replayId}::uuid`,
  );
  check(told.rows[0]?.seqs === '1,2', `its timeline has ${told.rows[0]?.seqs ?? 'nothing'}`);
  const open = await world.db.q.execute(
    sql`select id from operations where entity_id = ${replayId}::uuid and state = 'open'`,
  );
  check(open.rows.length === 0, `${open.rows.length} operations are open`);
  const audited = await world.db.q.execute(
    sql`select id from audit_logs where target_id = ${replayId} and action = 'dlq_replay.create'`,
  );
  check(audited.rows.length === 1, `${audited.rows.length} audit rows tell of it`);
  const run = await world.temporal.workflow.getHandle(`dlq-replay-${replayId}`).describe();
  check(run.status.name !== 'RUNNING', 'its run is open');
  return findings;
}

/** Audits until nothing is found or the time is up: a run may still be ending. @throws with every finding. */
export async function assertReplays(lab: Lab, expected: readonly ReplayExpectation[]): Promise<void> {
  if (expected.length === 0) throw new Error('there is nothing to audit');
  let findings: string[] = [];
  await until(
    'no residue of replays',
    async () => {
      findings = (await Promise.all(expected.map((one) => auditReplay(lab, one)))).flat();
      return findings.length === 0;
    },
    { withinMs: 45_000, state: () => findings },
  );
}
