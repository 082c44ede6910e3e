import type { Queryable } from '../client.ts';
import { now } from '../clock.ts';
import { skus } from '../schema.ts';

export type NewSku = Omit<typeof skus.$inferInsert, 'createdAt'>;

/** Writes SKUs that are not there; never touches one that is. */
export async function seedSkus(q: Queryable, rows: readonly NewSku[]): Promise<void> {
  await q
    .insert(skus)
    .values(rows.map((row) => ({ ...row, createdAt: now })))
    .onConflictDoNothing();
}
