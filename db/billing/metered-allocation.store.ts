import { sql } from 'drizzle-orm';
import type { Tx } from '../client.ts';
import { now } from '../clock.ts';
import { meteredAllocations } from '../schema.ts';

/** Who is metered for what. */
export interface MeteredParties {
  readonly allocationId: string;
  readonly userId: string;
  readonly projectId: string | null;
}

/** Metering begins. An end that was heard of first stays, and the first start stands. */
export async function startMetering(
  tx: Tx,
  of: MeteredParties & { readonly nodeId: string; readonly startedAt: Date },
): Promise<void> {
  await tx
    .insert(meteredAllocations)
    .values({ ...of, recordedAt: now })
    .onConflictDoUpdate({
      target: meteredAllocations.allocationId,
      set: {
        startedAt: sql`coalesce(${meteredAllocations.startedAt}, excluded.started_at)`,
        nodeId: sql`coalesce(${meteredAllocations.nodeId}, excluded.node_id)`,
      },
    });
}

/** Metering ends, for good: of several ends the earliest stands. */
export async function endMetering(
  tx: Tx,
  of: MeteredParties & { readonly endedAt: Date; readonly endedBy: string },
): Promise<void> {
  const earlier = sql`${meteredAllocations.endedAt} is null or excluded.ended_at < ${meteredAllocations.endedAt}`;
  await tx
    .insert(meteredAllocations)
    .values({ ...of, recordedAt: now })
    .onConflictDoUpdate({
      target: meteredAllocations.allocationId,
      set: {
        endedAt: sql`case when ${earlier} then excluded.ended_at else ${meteredAllocations.endedAt} end`,
        endedBy: sql`case when ${earlier} then excluded.ended_by else ${meteredAllocations.endedBy} end`,
      },
    });
}
