import { eq, sql } from 'drizzle-orm';
import type { Tx } from '../client.ts';
import { now } from '../clock.ts';
import { placements } from '../schema.ts';
import { statement } from '../statement.ts';
import { superseding } from './node-task.store.ts';

/** A part of a statement: the node `n` may get a tenant: available, in contact, and with no slot taken. */
export const placeable = `n.sku = :sku::text and n.state = 'available'
  and n.last_contact_at > gpuaas_now() - make_interval(secs => :offline_after_seconds::float8)
  and not exists (select 1 from placements p where p.node_id = n.id)`;

const takeStatement = (name: string, lock: string) =>
  statement<
    { sku: string; offline_after_seconds: number; allocation_id: string },
    { id: string; slots: number; taken: number }
  >(
    name,
    `with free as (
      select n.id, n.slot_count from nodes n where ${placeable} limit 1 ${lock}
    ), taken as (
      insert into placements (node_id, slot, allocation_id, taken_at)
      select free.id, slot, :allocation_id::uuid, gpuaas_now()
      from free cross join generate_series(0, free.slot_count - 1) slot
      on conflict do nothing
      returning slot
    )
    select free.id, free.slot_count as slots, (select count(*)::int from taken) as taken from free`,
  );

const takeStatements = [
  takeStatement('node-take', 'for update of n skip locked'),
  takeStatement('node-take-waiting', 'for update of n'),
];

/**
 * Takes every slot of one free node. Passes over nodes that another placement is taking right now; when only such ones
 * are left it waits for their outcome, so that a rolled-back rival never causes a false refusal.
 * @returns the node's id, or undefined when none is free.
 */
export async function takeWholeNode(
  tx: Tx,
  wanted: { sku: string; allocationId: string; offlineAfterSeconds: number },
): Promise<string | undefined> {
  const { sku, allocationId, offlineAfterSeconds } = wanted;
  for (const take of takeStatements) {
    for (;;) {
      const [node] = await take(tx, {
        sku,
        allocation_id: allocationId,
        offline_after_seconds: offlineAfterSeconds,
      });
      if (node === undefined) break;
      if (node.taken === node.slots) return node.id;
      // A rival committed between this statement's snapshot and its lock: look again with a fresh snapshot.
    }
  }
  return undefined;
}

/** Frees the slots of an allocation: only with their clean proof. */
export async function freePlacements(tx: Tx, allocationId: string): Promise<void> {
  await freeStatement(tx, { allocation_id: allocationId });
}

const freeing = 'delete from placements where allocation_id = :allocation_id::uuid';
const freeStatement = statement<{ allocation_id: string }, object>('node-free', freeing);
const giveBackStatement = statement<{ allocation_id: string }, object>(
  'node-give-back',
  `with superseded as (${superseding}) ${freeing}`,
);

/** As `freePlacements`, and every open task of the allocation is closed to results. */
export async function giveBackNode(tx: Tx, allocationId: string): Promise<void> {
  await giveBackStatement(tx, { allocation_id: allocationId });
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
