import { and, eq } from 'drizzle-orm';
import { CodedError } from '../../contracts/errors.ts';
import type { Database, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { idempotencyRecords } from '../schema.ts';

/** Which request a key stands for. */
export interface IdempotencyKey {
  readonly caller: string;
  /** Id of the endpoint. */
  readonly route: string;
  readonly key: string;
  /** sha256 of the canonical request. */
  readonly bodyHash: string;
}

/** An answer as it is stored and given again. */
export interface StoredAnswer {
  readonly status: number;
  readonly body: Record<string, unknown> | null;
}

/**
 * Runs a change of plain records once per key: the key's row is written in the transaction of the change. A twin that
 * comes meanwhile waits for the first and gets its answer. A change that throws leaves no row: its key may be tried again.
 * @throws CodedError idempotency_key_reused when the key stood for another request; whatever `work` throws.
 */
export async function idempotent(
  db: Database,
  of: IdempotencyKey,
  work: (tx: Tx) => Promise<StoredAnswer>,
): Promise<StoredAnswer> {
  return await db.tx(async (tx) => {
    const { caller, route, key, bodyHash } = of;
    const at = and(
      eq(idempotencyRecords.caller, caller),
      eq(idempotencyRecords.route, route),
      eq(idempotencyRecords.key, key),
    );
    const claimed = await tx
      .insert(idempotencyRecords)
      .values({ caller, route, key, bodyHash, status: 0, response: null, createdAt: now })
      .onConflictDoNothing()
      .returning({ key: idempotencyRecords.key });
    if (claimed.length === 0) {
      const [row] = await tx.select().from(idempotencyRecords).where(at);
      if (row === undefined) throw new CodedError('service_unavailable');
      if (row.bodyHash !== bodyHash) throw new CodedError('idempotency_key_reused');
      return { status: row.status, body: row.response };
    }
    const answer = await work(tx);
    await tx.update(idempotencyRecords).set({ status: answer.status, response: answer.body }).where(at);
    return answer;
  });
}
