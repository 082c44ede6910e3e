import { and, eq } from 'drizzle-orm';
import type { Tx } from './client.ts';
import { timeline } from './schema.ts';

/** Another writer changed an entity behind its workflow's back: a defect, never retried. */
export class SecondWriterError extends Error {
  constructor(entityId: string, seq: number, found: string | undefined, wanted: string) {
    super(`entity ${entityId}: version ${seq} is ${found ?? 'missing'}, not ${wanted}`);
    this.name = 'SecondWriterError';
  }
}

/**
 * Decides what an update that hit no row means: true when the very same event was written already (a repeat).
 * @throws SecondWriterError when somebody else wrote that version.
 */
export async function isRepeat(
  tx: Tx,
  at: { entityId: string; seq: number; event: string; operationId: string | null },
): Promise<boolean> {
  const [row] = await tx
    .select({ event: timeline.event, operationId: timeline.operationId })
    .from(timeline)
    .where(and(eq(timeline.entityId, at.entityId), eq(timeline.seq, at.seq)));
  if (row?.event === at.event && row.operationId === at.operationId) return true;
  throw new SecondWriterError(at.entityId, at.seq, row?.event, at.event);
}
