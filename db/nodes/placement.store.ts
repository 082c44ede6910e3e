import { and, eq, sql } from 'drizzle-orm';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { placements, skus } from '../schema.ts';

/** A node that may get a tenant: available, in contact, and with no slot taken. */
const placeable = (sku: string, offlineAfterSeconds: number) => sql`
  n.sku = ${sku} and n.state = 'available'
  and n.last_contact_at > gpuaas_now() - make_interval(secs => ${offlineAfterSeconds})
  and not exists (select 1 from placements p where p.node_id = n.id)`;

/** True when a node of the SKU looks free right now. Read-only: admission has the last word. */
export async function hasCapacity(q: Queryable, sku: string, offlineAfterSeconds: number): Promise<boolean> {
  const found = await q.execute(
    sql`select 1 from nodes n where ${placeable(sku, offlineAfterSeconds)} limit 1`,
  );
  return found.rows.length > 0;
}

/**
 * Takes every slot of one free node. Passes over nodes that another placement is taking right now; when only such ones
 * are left it waits for their outcome, so that a rolled-back rival never causes a false refusal.
 * @returns the node's id, or undefined when none is free.
 */
export async function takeWholeNode(
  tx: Tx,
  wanted: { sku: string; allocationId: string; offlineAfterSeconds: number },
): Promise<string | undefined> {
  for (const lock of [sql`for update skip locked`, sql`for update`]) {
    for (;;) {
      const found = await tx.execute<{ id: string; slot_count: number }>(sql`
        select n.id, n.slot_count from nodes n
        where ${placeable(wanted.sku, wanted.offlineAfterSeconds)} limit 1 ${lock}`);
      const node = found.rows[0];
      if (node === undefined) break;
      const taken = await tx.execute(sql`
        insert into placements (node_id, slot, allocation_id, taken_at)
        select ${node.id}::uuid, slot, ${wanted.allocationId}::uuid, gpuaas_now()
        from generate_series(0, ${node.slot_count}::int - 1) slot
        on conflict do nothing`);
      if (taken.rowCount === node.slot_count) return node.id;
      // A rival committed between this statement's snapshot and its lock: look again with a fresh snapshot.
    }
  }
  return undefined;
}

/** Frees the slots of an allocation: only with their clean proof. */
export async function freePlacements(tx: Tx, allocationId: string): Promise<void> {
  await tx.delete(placements).where(eq(placements.allocationId, allocationId));
}

/** Keeps the slots of an allocation from everybody, and the node too when no other slot of it is in use. */
export async function quarantinePlacements(tx: Tx, allocationId: string): Promise<void> {
  await tx.update(placements).set({ quarantinedAt: now }).where(eq(placements.allocationId, allocationId));
  await tx.execute(sql`
    update nodes n set state = 'quarantined'
    where n.id in (select node_id from placements where allocation_id = ${allocationId}::uuid)
      and n.state in ('available', 'draining')
      and not exists (select 1 from placements p where p.node_id = n.id and p.quarantined_at is null)`);
}

/** The slots of an allocation, ascending. */
export async function slotsOf(q: Queryable, allocationId: string): Promise<number[]> {
  const rows = await q
    .select({ slot: placements.slot })
    .from(placements)
    .where(eq(placements.allocationId, allocationId))
    .orderBy(placements.slot);
  return rows.map((row) => row.slot);
}

/** True when the SKU exists and is offered. */
export async function isOffered(q: Queryable, sku: string): Promise<boolean> {
  return (await q.$count(skus, and(eq(skus.code, sku), eq(skus.offered, true)))) > 0;
}
