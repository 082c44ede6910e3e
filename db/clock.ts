import { sql } from 'drizzle-orm';
import type { Queryable } from './client.ts';

/** The one source of time, as SQL: the database clock plus the test offset, in milliseconds. */
export const now = sql<Date>`gpuaas_now()`;

/** The one source of time, read. */
export async function readNow(q: Queryable): Promise<Date> {
  const result = await q.execute<{ now: string }>(
    sql`select to_char(gpuaas_now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as now`,
  );
  const row = result.rows[0];
  if (row === undefined) throw new Error('the clock gave no row');
  return new Date(row.now);
}
