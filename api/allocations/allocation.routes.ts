import {
  adminForceReleaseAllocation,
  adminListAllocations,
  createAllocation,
  explainAllocation,
  getAllocation,
  getAllocationTimeline,
  listAllocations,
  releaseAllocation,
} from '../../contracts/allocations/allocation.api.ts';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import type {
  AllocationRequest,
  OperationOutcome,
  ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { CodedError, type ErrorCode } from '../../contracts/errors.ts';
import { asId, type AllocationId, type OperationId } from '../../contracts/ids.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import {
  getAllocationView,
  listAllocationViews,
  listTimeline,
  type AllocationFilter,
} from '../../db/allocations/allocation.views.ts';
import {
  commandOf,
  openAllocationOperation,
  openOperation,
  type NewOperation,
  type OperationRow,
} from '../../db/ops/operation.store.ts';
import { operationView } from '../../db/ops/operation.views.ts';
import { canonicalHash } from '../middleware/canonical.ts';
import type { ApiDeps } from '../deps.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Answer, type Caller, type RequestContext, type Route } from '../route.ts';
import { settle, updateIdOf } from '../engine.ts';
import { admit, auditRefused, command, refuseClosed, resumeAndCommand } from './allocation.commands.ts';
import { explain } from './allocation.explain.ts';

export function allocationRoutes(deps: ApiDeps): Route[] {
  const { db } = deps;
  return [
    route(createAllocation, (request) => create(deps, request)),
    route(listAllocations, async ({ caller, query }) => listAnswer(deps, query, { visibleTo: caller })),
    route(adminListAllocations, async ({ query }) => listAnswer(deps, query, {})),

    route(getAllocation, async ({ caller, params }) => {
      const { view } = await visible(deps, caller, params.allocation_id);
      return { status: 200, body: view };
    }),

    route(getAllocationTimeline, async ({ caller, params, query }) => {
      await visible(deps, caller, params.allocation_id);
      const [after] = readCursor(query.cursor, ['int']) ?? [0];
      const rows = await listTimeline(db.q, params.allocation_id, after, query.limit);
      const items = rows.map(({ entry, elapsed }) => ({
        seq: entry.seq,
        event: entry.event,
        from_state: entry.fromState,
        to_state: entry.toState,
        at: entry.at.toISOString(),
        elapsed_ms: Math.max(0, Math.round(Number(elapsed ?? 0))),
        actor_type: entry.actorType,
        reason: entry.reason,
        correlation_id: entry.correlationId,
      }));
      return pageAnswer(items, query.limit, (item) => [item.seq]);
    }),

    route(explainAllocation, async ({ caller, params }) => {
      const { row } = await visible(deps, caller, params.allocation_id);
      return { status: 200, body: await explain(deps, row, caller.isAdmin) };
    }),

    route(releaseAllocation, async (request) => {
      const { row } = await visible(deps, request.caller, request.params.allocation_id);
      if (row.userId !== request.caller.userId) throw new CodedError('ownership_required');
      return release(deps, row, {
        ...request,
        kind: 'release',
        route: releaseAllocation.id,
        role: 'user',
        reason: request.body?.reason ?? 'released by its user',
      });
    }),

    route(adminForceReleaseAllocation, async (request) => {
      const found = await getAllocationView(db.q, request.params.allocation_id, undefined);
      if (found === undefined) throw new CodedError('allocation_not_found');
      return release(deps, found.row, {
        ...request,
        kind: 'force_release',
        route: adminForceReleaseAllocation.id,
        role: 'admin',
        reason: request.body.reason,
      });
    }),
  ];
}

async function create(deps: ApiDeps, request: RequestContext<typeof createAllocation>): Promise<Answer> {
  const { caller, idempotencyKey, correlationId, body } = request;
  const identity = [caller.userId, createAllocation.id, idempotencyKey] as const;
  const allocationId = asId<AllocationId>(uuid5('allocation', ...identity));
  const work: AllocationRequest = {
    operationId: asId<OperationId>(uuid5('operation', ...identity)),
    orgId: caller.orgId,
    projectId: asId(body.project_id),
    userId: caller.userId,
    sku: body.sku,
    schedulerType: body.scheduler_type,
    correlationId,
  };
  const [maxConcurrentPerUser, offlineAfterSeconds] = await Promise.all([
    deps.policies.get('allocation.max_concurrent_per_user'),
    deps.policies.get('node.offline_after_seconds'),
  ]);
  const operation = await openAllocationOperation(
    deps.db.q,
    {
      id: work.operationId,
      caller: caller.userId,
      route: createAllocation.id,
      key: idempotencyKey,
      bodyHash: canonicalHash(body),
      kind: 'allocation.create',
      orgId: caller.orgId,
      entityId: allocationId,
      request: { ...work },
      correlationId,
    },
    work,
    { maxConcurrentPerUser, offlineAfterSeconds },
  );
  if (operation.state !== 'open') return createAnswer(operation);
  // A repeat of a key runs on with the request that opened it, whose correlation id is the one in the history.
  const opened = operation.request as unknown as AllocationRequest;
  const result = await admit(deps.temporal, allocationId, opened, updateIdOf(...identity));
  return settle(deps, operation, result, createAnswer);
}

async function listAnswer(
  deps: ApiDeps,
  query: AllocationFilter & { limit: number; cursor?: string | undefined },
  scope: Pick<AllocationFilter, 'visibleTo'>,
): Promise<Answer> {
  const { limit, cursor, ...filter } = query;
  const position = readCursor(cursor, ['instant', 'uuid']);
  const after = position === undefined ? undefined : { createdAt: position[0], id: position[1] };
  const items = await listAllocationViews(deps.db.q, { ...filter, ...scope }, after, limit);
  return pageAnswer(items, limit, (item) => [new Date(item.created_at), item.id]);
}

/** What the caller may see: allocations of their projects; of the organisation, only that it is not theirs. */
async function visible(deps: ApiDeps, caller: Caller, allocationId: string) {
  const found = await getAllocationView(deps.db.q, allocationId, caller.isAdmin ? undefined : caller);
  if (found !== undefined) return found;
  const hidden = await getAllocationView(deps.db.q, allocationId, undefined);
  throw new CodedError(hidden?.row.orgId === caller.orgId ? 'ownership_required' : 'allocation_not_found');
}

interface ReleaseRequest {
  readonly kind: 'release' | 'force_release';
  readonly route: string;
  readonly role: 'user' | 'admin';
  readonly reason: string;
  readonly caller: Caller;
  readonly idempotencyKey: string;
  readonly correlationId: string;
}

async function release(deps: ApiDeps, row: AllocationRow, request: ReleaseRequest): Promise<Answer> {
  const { caller, correlationId, idempotencyKey, reason } = request;
  const identity = [caller.userId, request.route, idempotencyKey] as const;
  const order: ReleaseCommand = {
    operationId: asId<OperationId>(uuid5('operation', ...identity)),
    command: request.kind,
    actorUserId: caller.userId,
    actorRole: request.role,
    correlationId,
  };
  const opening: NewOperation = {
    id: order.operationId,
    caller: caller.userId,
    route: request.route,
    key: idempotencyKey,
    bodyHash: canonicalHash({ allocation_id: row.id, reason }),
    kind: `allocation.${request.kind}`,
    orgId: row.orgId,
    entityId: row.id,
    request: { ...order, reason },
    correlationId,
  };
  const code = releaseRefusal(row.state, request.kind);
  const operation = await openRelease(deps, opening, order, code);
  if (operation.state !== 'open') return releaseAnswer(operation);
  const opened = commandOf(operation.request);
  const updateId = updateIdOf(...identity);
  const allocationId = asId<AllocationId>(row.id);
  let result = await command(deps.temporal, allocationId, opened, updateId);
  if (result.kind === 'closed') {
    const outcome = await refuseClosed(deps.db, opened, row.id);
    if (outcome !== undefined) result = { kind: 'decided', outcome };
    else {
      const about = { allocationId, orgId: asId(row.orgId), projectId: asId(row.projectId), correlationId };
      result = await resumeAndCommand(deps.temporal, about as never, opened, updateId);
    }
  }
  return settle(deps, operation, result, releaseAnswer);
}

/** Opens the operation; a force-release that is refused at once leaves its audit row with it. */
async function openRelease(
  deps: ApiDeps,
  opening: NewOperation,
  order: ReleaseCommand,
  code: ErrorCode | undefined,
): Promise<OperationRow> {
  if (code === undefined) return openOperation(deps.db.q, opening);
  return deps.db.tx(async (tx) => {
    const operation = await openOperation(tx, opening, refused(code));
    if (operation.inserted) await auditRefused(tx, order, opening.entityId, code);
    return operation;
  });
}

const refused = (code: ErrorCode): OperationOutcome => ({ kind: 'refused', code });

function refusalOf(operation: OperationRow): void {
  const { outcome } = operation;
  if (outcome?.kind !== 'refused') return;
  throw new CodedError(outcome.code, outcome.details === undefined ? {} : { details: outcome.details });
}

function createAnswer(operation: OperationRow): Answer {
  refusalOf(operation);
  return {
    status: 201,
    body: operation.response,
    headers: { location: `/api/v1/allocations/${operation.entityId}` },
  };
}

function releaseAnswer(operation: OperationRow): Answer {
  refusalOf(operation);
  return {
    status: 202,
    body: operationView(operation),
    headers: { location: `/api/v1/operations/${operation.id}` },
  };
}
