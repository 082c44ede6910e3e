import { and, desc, eq, sql, type SQL } from 'drizzle-orm';
import type { DlqReplayView } from '../../contracts/ops/dlq-replay.api.ts';
import type { DlqReplayState } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { dlqReplayWaits } from '../../contracts/ops/dlq-replay.waits.ts';
import type { Queryable } from '../client.ts';
import { dlqReplays } from '../schema.ts';
import type { DlqReplayRow } from './dead-letter.schema.ts';

/** The public view of a row. */
export const dlqReplayView = (row: DlqReplayRow): DlqReplayView => ({
  id: row.id,
  state: row.state,
  filter: row.filter,
  dry_run: row.dryRun,
  matched: row.matched,
  replayed: row.replayed,
  skipped: row.skipped,
  waiting_on: dlqReplayWaits[row.state],
  reason: row.reason,
  requested_by: row.requestedBy,
  correlation_id: row.correlationId,
  created_at: row.createdAt.toISOString(),
  finished_at: row.finishedAt?.toISOString() ?? null,
});

/** One replay; undefined when there is none. */
export async function getDlqReplayView(q: Queryable, id: string): Promise<DlqReplayView | undefined> {
  const [row] = await q.select().from(dlqReplays).where(eq(dlqReplays.id, id));
  return row && dlqReplayView(row);
}

/** Replays, newest first; one more than `limit` when there are more. */
export async function listDlqReplayViews(
  q: Queryable,
  filter: { readonly state?: DlqReplayState | undefined },
  after: { readonly at: Date; readonly id: string } | undefined,
  limit: number,
): Promise<DlqReplayView[]> {
  const conditions: (SQL | undefined)[] = [
    filter.state === undefined ? undefined : eq(dlqReplays.state, filter.state),
    after === undefined
      ? undefined
      : sql`(${dlqReplays.createdAt}, ${dlqReplays.id}) < (${after.at.toISOString()}::timestamptz, ${after.id}::uuid)`,
  ];
  const rows = await q
    .select()
    .from(dlqReplays)
    .where(and(...conditions))
    .orderBy(desc(dlqReplays.createdAt), desc(dlqReplays.id))
    .limit(limit + 1);
  return rows.map(dlqReplayView);
}
