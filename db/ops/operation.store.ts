import { and, eq, sql } from 'drizzle-orm';
import type { OperationOutcome } from '../../contracts/allocations/allocation.messages.ts';
import { CodedError } from '../../contracts/errors.ts';
import type { OperationId } from '../../contracts/ids.ts';
import type { OperationKind } from '../../contracts/ops/operation.api.ts';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { operations } from '../schema.ts';

export type OperationRow = typeof operations.$inferSelect;

export interface NewOperation {
  readonly id: OperationId;
  readonly caller: string;
  readonly route: string;
  readonly key: string;
  /** sha256 of the canonical request. */
  readonly bodyHash: string;
  readonly kind: OperationKind;
  readonly orgId: string;
  readonly entityId: string;
  readonly request: Record<string, unknown>;
  readonly correlationId: string;
}

/**
 * Opens the operation of an idempotency key, or finds it. With a refusal it is born decided; a row that is there
 * already always wins.
 * @throws CodedError idempotency_key_reused when the key was used with another request.
 */
export async function openOperation(
  q: Queryable,
  operation: NewOperation,
  refusal?: OperationOutcome,
): Promise<OperationRow & { readonly inserted: boolean }> {
  const [inserted] = await q
    .insert(operations)
    .values({
      ...operation,
      state: refusal === undefined ? 'open' : 'refused',
      outcome: refusal ?? null,
      createdAt: now,
      decidedAt: refusal === undefined ? null : now,
    })
    .onConflictDoNothing()
    .returning();
  if (inserted !== undefined) return { ...inserted, inserted: true };
  const found = await findOperationByKey(q, operation);
  if (found === undefined) throw new CodedError('service_unavailable');
  if (found.bodyHash !== operation.bodyHash) throw new CodedError('idempotency_key_reused');
  return { ...found, inserted: false };
}

/** The operation of a key, if there is one. */
export async function findOperationByKey(
  q: Queryable,
  of: Pick<NewOperation, 'caller' | 'route' | 'key'>,
): Promise<OperationRow | undefined> {
  const [row] = await q
    .select()
    .from(operations)
    .where(and(eq(operations.caller, of.caller), eq(operations.route, of.route), eq(operations.key, of.key)));
  return row;
}

export async function findOperation(q: Queryable, id: string): Promise<OperationRow | undefined> {
  const [row] = await q.select().from(operations).where(eq(operations.id, id));
  return row;
}

/** The stored outcome, with the row locked until the transaction ends. */
export async function lockOperation(tx: Tx, id: OperationId): Promise<OperationRow | undefined> {
  const [row] = await tx.select().from(operations).where(eq(operations.id, id)).for('update');
  return row;
}

/**
 * Stores an outcome; the first one stands.
 * @returns the outcome that the row has now.
 */
export async function decideOperation(
  q: Queryable,
  id: OperationId,
  outcome: OperationOutcome,
  response?: Record<string, unknown>,
): Promise<OperationOutcome> {
  const [row] = await q
    .update(operations)
    .set({
      outcome: sql`coalesce(${operations.outcome}, ${JSON.stringify(outcome)}::jsonb)`,
      response: sql`coalesce(${operations.response}, ${response === undefined ? null : JSON.stringify(response)}::jsonb)`,
      state: sql`case when ${operations.outcome} is null then ${outcome.kind}::operation_state else ${operations.state} end`,
      decidedAt: sql`coalesce(${operations.decidedAt}, gpuaas_now())`,
    })
    .where(eq(operations.id, id))
    .returning({ outcome: operations.outcome });
  if (row?.outcome == null) throw new Error(`operation ${id} has no row`);
  return row.outcome;
}

/** Undecided operations of an entity, oldest first. */
export const openOperationsOf = (q: Queryable, entityId: string): Promise<OperationRow[]> =>
  q
    .select()
    .from(operations)
    .where(and(eq(operations.entityId, entityId), eq(operations.state, 'open')))
    .orderBy(operations.createdAt);

/** Undecided operations of a kind that are older than `ageSeconds`: their run may be lost. */
export const staleOpenOperations = (
  q: Queryable,
  kind: OperationKind,
  ageSeconds: number,
  limit: number,
): Promise<OperationRow[]> =>
  q
    .select()
    .from(operations)
    .where(
      and(
        eq(operations.state, 'open'),
        eq(operations.kind, kind),
        sql`${operations.createdAt} < gpuaas_now() - make_interval(secs => ${ageSeconds})`,
      ),
    )
    .orderBy(operations.createdAt)
    .limit(limit);
