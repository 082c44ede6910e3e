import { and, eq, sql } from 'drizzle-orm';
import type {
  AllocationRequest,
  OperationOutcome,
  ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { CodedError } from '../../contracts/errors.ts';
import type { OperationId } from '../../contracts/ids.ts';
import type { OperationKind } from '../../contracts/ops/operation.api.ts';
import type { Queryable, Tx } from '../client.ts';
import { operations } from '../schema.ts';
import { columnsOf, json, statement, type Parameters } from '../statement.ts';
import { foreseen, foreseenParameters, type AdmissionLimits } from './admission.views.ts';

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

const openStatement = (name: string, refusal: string) =>
  statement<Parameters, OperationRow>(
    name,
    `with ${refusal}
    insert into operations (id, caller, route, key, body_hash, kind, org_id, entity_id, request, state, outcome,
      correlation_id, created_at, decided_at)
    select :id::uuid, :caller::uuid, :route::text, :key::text, :body_hash::text, :kind::operation_kind, :org_id::uuid,
      :entity_id::uuid, :request::jsonb,
      case when refusal.outcome is null then 'open'::operation_state else 'refused'::operation_state end,
      refusal.outcome, :correlation_id::text, gpuaas_now(),
      case when refusal.outcome is null then null else gpuaas_now() end
    from refusal
    on conflict do nothing
    returning ${columnsOf(operations, 'operations')}`,
  );

const openGiven = openStatement('operation-open', 'refusal as (select :outcome::jsonb as outcome)');
const openAllocation = openStatement(
  'operation-open-allocation',
  `${foreseen}, refusal as (
    select case when code is not null then jsonb_build_object('kind', 'refused', 'code', code) end as outcome
    from foreseen
  )`,
);

/** An operation as it stands, and whether this call opened it. */
export type OpenedOperation = OperationRow & { readonly inserted: boolean };

/**
 * Opens the operation of an idempotency key, or finds it. With a refusal it is born decided; a row that is there
 * already always wins.
 * @throws CodedError idempotency_key_reused when the key was used with another request.
 */
export async function openOperation(
  q: Queryable,
  operation: NewOperation,
  refusal?: OperationOutcome,
): Promise<OpenedOperation> {
  const parameters = { ...parametersOf(operation), outcome: json(refusal) };
  return await openedOr(q, operation, await openGiven(q, parameters));
}

/** As `openOperation` for a request of an allocation: it is born refused when a refusal can be foreseen (D-0009). */
export async function openAllocationOperation(
  q: Queryable,
  operation: NewOperation,
  request: AllocationRequest,
  limits: AdmissionLimits,
): Promise<OpenedOperation> {
  const parameters = { ...parametersOf(operation), ...foreseenParameters(request, limits) };
  return await openedOr(q, operation, await openAllocation(q, parameters));
}

const parametersOf = (operation: NewOperation): Parameters => ({
  id: operation.id,
  caller: operation.caller,
  route: operation.route,
  key: operation.key,
  body_hash: operation.bodyHash,
  kind: operation.kind,
  org_id: operation.orgId,
  entity_id: operation.entityId,
  request: json(operation.request),
  correlation_id: operation.correlationId,
});

async function openedOr(
  q: Queryable,
  operation: NewOperation,
  [inserted]: readonly OperationRow[],
): Promise<OpenedOperation> {
  if (inserted !== undefined) return { ...inserted, inserted: true };
  const [found] = await findByKey(q, {
    caller: operation.caller,
    route: operation.route,
    key: operation.key,
  });
  if (found === undefined) throw new CodedError('service_unavailable');
  if (found.bodyHash !== operation.bodyHash) throw new CodedError('idempotency_key_reused');
  return { ...found, inserted: false };
}

const findByKey = statement<Parameters, OperationRow>(
  'operation-find-by-key',
  `select ${columnsOf(operations, 'o')} from operations o
  where o.caller = :caller::uuid and o.route = :route::text and o.key = :key::text`,
);

const findById = statement<{ id: string }, OperationRow>(
  'operation-find',
  `select ${columnsOf(operations, 'o')} from operations o where o.id = :id::uuid`,
);

export async function findOperation(q: Queryable, id: string): Promise<OperationRow | undefined> {
  const [row] = await findById(q, { id });
  return row;
}

/** The release command of an operation's request, without what stays in the row: the caller's words. */
export function commandOf(request: Record<string, unknown>): ReleaseCommand {
  const { reason: _, ...command } = request as unknown as ReleaseCommand & { readonly reason: string };
  return command;
}

/** `decideOperation` as a part of one statement, when the part `change` touched a row: `:operation_id` may be null. */
export const deciding = (change: string): string => `
  decided as (
    update operations o set outcome = coalesce(o.outcome, :outcome::jsonb),
      response = coalesce(o.response, :response::jsonb),
      state = case when o.outcome is null then (:outcome::jsonb ->> 'kind')::operation_state else o.state end,
      decided_at = coalesce(o.decided_at, gpuaas_now())
    where o.id = :operation_id::uuid and exists (select 1 from ${change})
    returning o.outcome
  )`;

/** A part of one statement: the undecided operation `:operation_id`, locked; no row when it is decided. */
export const undecided = `
  undecided as (
    select id from operations where id = :operation_id::uuid and outcome is null for update
  )`;

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
  const [row] = await decideStatement(q, {
    operation_id: id,
    outcome: json(outcome),
    response: json(response),
  });
  if (row === undefined) throw new Error(`operation ${id} has no row`);
  return row.outcome;
}

const decideStatement = statement<Parameters, { outcome: OperationOutcome }>(
  'operation-decide',
  `with always as (select 1), ${deciding('always')} select outcome from decided`,
);

const lockUndecidedStatement = statement<{ operation_id: string }, { id: string }>(
  'operation-lock-undecided',
  `with ${undecided} select id from undecided`,
);

/** Locks an operation until the transaction ends. @returns false when it is decided already. */
export const lockUndecided = async (tx: Tx, id: OperationId): Promise<boolean> =>
  (await lockUndecidedStatement(tx, { operation_id: id })).length > 0;

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
