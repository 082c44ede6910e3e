import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { now } from '../clock.ts';
import { skus } from '../schema.ts';

export interface SkuView {
  readonly code: string;
  readonly title: string;
  readonly gpu_model: string;
  readonly gpu_count: number;
  readonly cpu_cores: number;
  readonly memory_gib: number;
  readonly price_per_hour: { readonly amount_minor: number; readonly currency: string };
  readonly available: number;
}

/**
 * The SKUs on offer, by code, behind `after`; one more than `limit` when there are more. `available` counts nodes that
 * could be placed now: available, in contact within `offlineAfterSeconds`, and without any placement.
 */
export async function listSkuViews(
  q: Queryable,
  offlineAfterSeconds: number,
  after: string | undefined,
  limit: number,
): Promise<SkuView[]> {
  // Names are written out: drizzle drops the table of a column where a select has only one.
  const available = sql<number>`(select count(*)::int from nodes
    where nodes.sku = skus.code and nodes.state = 'available'
      and nodes.last_contact_at > ${now} - make_interval(secs => ${offlineAfterSeconds}::int)
      and not exists (select 1 from placements where placements.node_id = nodes.id))`;
  const rows = await q
    .select({ sku: skus, available })
    .from(skus)
    .where(and(eq(skus.offered, true), after === undefined ? undefined : gt(skus.code, after)))
    .orderBy(asc(skus.code))
    .limit(limit + 1);
  return rows.map(({ sku, available: count }) => ({
    code: sku.code,
    title: sku.title,
    gpu_model: sku.gpuModel,
    gpu_count: sku.gpuCount,
    cpu_cores: sku.cpuCores,
    memory_gib: sku.memoryGib,
    price_per_hour: { amount_minor: sku.pricePerHourMinor, currency: sku.currency },
    available: count,
  }));
}
