import { and, desc, eq, sql, type SQL } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { auditLogs } from '../schema.ts';

export interface AuditLogView {
  readonly id: string;
  readonly at: string;
  readonly actor_user_id: string | null;
  readonly actor_role: string;
  readonly action: string;
  readonly target_type: string;
  readonly target_id: string | null;
  readonly result: string;
  readonly correlation_id: string;
  readonly details: Record<string, unknown>;
}

export interface AuditLogFilter {
  readonly actor_user_id?: string | undefined;
  readonly action?: string | undefined;
  readonly target_type?: string | undefined;
  readonly target_id?: string | undefined;
  readonly result?: string | undefined;
  readonly correlation_id?: string | undefined;
  /** Inclusive. */
  readonly from?: Date | undefined;
  /** Exclusive. */
  readonly to?: Date | undefined;
}

/** Audit rows, newest first; one more than `limit` when there are more. */
export async function listAuditLogViews(
  q: Queryable,
  filter: AuditLogFilter,
  after: { readonly at: Date; readonly id: number } | undefined,
  limit: number,
): Promise<AuditLogView[]> {
  const t = auditLogs;
  const conditions: (SQL | undefined)[] = [
    filter.actor_user_id === undefined ? undefined : eq(t.actorUserId, filter.actor_user_id),
    filter.action === undefined ? undefined : eq(t.action, filter.action),
    filter.target_type === undefined ? undefined : eq(t.targetType, filter.target_type),
    filter.target_id === undefined ? undefined : eq(t.targetId, filter.target_id),
    filter.result === undefined ? undefined : eq(t.result, filter.result),
    filter.correlation_id === undefined ? undefined : eq(t.correlationId, filter.correlation_id),
    filter.from === undefined ? undefined : sql`${t.at} >= ${filter.from.toISOString()}::timestamptz`,
    filter.to === undefined ? undefined : sql`${t.at} < ${filter.to.toISOString()}::timestamptz`,
    after === undefined
      ? undefined
      : sql`(${t.at}, ${t.id}) < (${after.at.toISOString()}::timestamptz, ${after.id}::bigint)`,
  ];
  const rows = await q
    .select()
    .from(t)
    .where(and(...conditions))
    .orderBy(desc(t.at), desc(t.id))
    .limit(limit + 1);
  return rows.map((row) => ({
    id: String(row.id),
    at: row.at.toISOString(),
    actor_user_id: row.actorUserId,
    actor_role: row.actorRole,
    action: row.action,
    target_type: row.targetType,
    target_id: row.targetId,
    result: row.result,
    correlation_id: row.correlationId,
    details: row.details,
  }));
}
