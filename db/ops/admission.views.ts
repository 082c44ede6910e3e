import type { AllocationRequest, OperationOutcome } from '../../contracts/allocations/allocation.messages.ts';
import { liveAllocationStates } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import { unkeptIsolationModel } from '../../contracts/policies.ts';
import type { Tx } from '../client.ts';
import { placeable } from '../nodes/placement.store.ts';
import { statement, type Parameters } from '../statement.ts';

/** The limits of an admission, as policies say them. */
export interface AdmissionLimits {
  readonly maxConcurrentPerUser: number;
  /** A node that was silent for longer gets no tenant. */
  readonly offlineAfterSeconds: number;
}

const live = liveAllocationStates.map((state) => `'${state}'`).join(', ');
const refusedByFacts = `
  when not exists (select 1 from skus where code = :sku::text and offered) then 'sku_not_found'
  when not exists (
    select 1 from project_members where project_id = :project_id::uuid and user_id = :user_id::uuid
  ) then case when exists (select 1 from projects where id = :project_id::uuid and org_id = :org_id::uuid)
    then 'ownership_required' else 'project_not_found' end
  when (
    select count(*) from allocations where user_id = :user_id::uuid and state in (${live})
  ) >= :max_concurrent_per_user::int then 'allocation_concurrency_limit'
  when exists (
    select 1 from policy_values where key = 'allocation.isolation_model'
      and value = to_jsonb('${unkeptIsolationModel}'::text)
  ) then 'sku_unavailable'`;

/**
 * A part of one statement: why an allocation would be refused right now, as `code`, null when nothing speaks against it.
 * It spares the engine a run that can only refuse; admission in the workflow has the last word.
 */
export const foreseen = `
  foreseen as (
    select case ${refusedByFacts}
      when not exists (select 1 from nodes n where ${placeable}) then 'sku_unavailable'
    end as code
  )`;

/** The parameters of `foreseen`. */
export const foreseenParameters = (request: AllocationRequest, limits: AdmissionLimits): Parameters => ({
  sku: request.sku,
  project_id: request.projectId,
  org_id: request.orgId,
  user_id: request.userId,
  max_concurrent_per_user: limits.maxConcurrentPerUser,
  offline_after_seconds: limits.offlineAfterSeconds,
});

/** What an admission is decided by. */
export interface AdmissionFacts {
  readonly now: Date;
  /** The request's outcome, if it has one. */
  readonly outcome: OperationOutcome | null;
  /** True when the allocation has its row. */
  readonly admitted: boolean;
  /** Why it is refused, whatever nodes are free. */
  readonly refusal: ErrorCode | null;
}

const factsStatement = statement<Parameters, AdmissionFacts>(
  'admission-facts',
  `select gpuaas_now() as now, o.outcome, exists (select 1 from allocations where id = :id::uuid) as admitted,
    case ${refusedByFacts} end as refusal
  from operations o where o.id = :operation_id::uuid`,
);

/**
 * Reads what an admission is decided by. Call it with the user's row locked: live allocations are counted against the
 * limit. @returns undefined when the request's operation has no row.
 */
export async function admissionFacts(
  tx: Tx,
  allocationId: string,
  request: AllocationRequest,
  maxConcurrentPerUser: number,
): Promise<AdmissionFacts | undefined> {
  const [facts] = await factsStatement(tx, {
    id: allocationId,
    operation_id: request.operationId,
    sku: request.sku,
    project_id: request.projectId,
    org_id: request.orgId,
    user_id: request.userId,
    max_concurrent_per_user: maxConcurrentPerUser,
  });
  return facts;
}
