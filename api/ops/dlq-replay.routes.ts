import { CodedError } from '../../contracts/errors.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { asId, type DlqReplayId, type OperationId } from '../../contracts/ids.ts';
import {
  adminCancelDlqReplay,
  adminCreateDlqReplay,
  adminGetDlqReplay,
  adminListDlqReplays,
} from '../../contracts/ops/dlq-replay.api.ts';
import { cancelRefusal } from '../../contracts/ops/dlq-replay.guards.ts';
import type {
  DlqReplayCancel,
  DlqReplayFilter,
  DlqReplayRequest,
} from '../../contracts/ops/dlq-replay.messages.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { getDlqReplayView, listDlqReplayViews } from '../../db/ops/dlq-replay.views.ts';
import {
  findOperation,
  openOperation,
  type NewOperation,
  type OpenedOperation,
  type OperationRow,
} from '../../db/ops/operation.store.ts';
import type { ApiDeps } from '../deps.ts';
import { settle, updateIdOf } from '../engine.ts';
import { canonicalHash } from '../middleware/canonical.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Answer, type RequestContext, type Route } from '../route.ts';
import { auditCancelRefused, beginReplay, cancelReplay } from './dlq-replay.commands.ts';

/** Replays of many dead letters, for admins. */
export function dlqReplayRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminCreateDlqReplay, (request) => {
      const { filter, dry_run: dryRun, reason } = request.body;
      return orderReplay(deps, adminCreateDlqReplay, request, { filter: given(filter), dryRun, reason });
    }),
    route(adminListDlqReplays, async ({ query }) => {
      const { limit, cursor, ...filter } = query;
      const position = readCursor(cursor, ['instant', 'uuid']);
      const after = position && { at: position[0], id: position[1] };
      const items = await listDlqReplayViews(deps.db.q, filter, after, limit);
      return pageAnswer(items, limit, (item) => [new Date(item.created_at), item.id]);
    }),
    route(adminGetDlqReplay, async ({ params }) => {
      const view = await getDlqReplayView(deps.db.q, params.dlq_replay_id);
      if (view === undefined) throw new CodedError('dlq_replay_not_found');
      return { status: 200, body: view };
    }),
    route(adminCancelDlqReplay, (request) => cancel(deps, request)),
  ];
}

/** Without the members that are not there. */
const given = (filter: {
  readonly [K in keyof DlqReplayFilter]: DlqReplayFilter[K] | undefined;
}): DlqReplayFilter => Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));

type Ordering = Pick<RequestContext<Endpoint>, 'caller' | 'idempotencyKey' | 'correlationId'>;

/**
 * Opens the operation of a replay and starts its run, once per key.
 * @param mayOpen throws what speaks against it; not asked for a key that was used.
 * @throws CodedError idempotency_key_reused, service_unavailable, and whatever `mayOpen` throws.
 */
export async function orderReplay(
  deps: ApiDeps,
  endpoint: Endpoint,
  request: Ordering,
  wanted: Pick<DlqReplayRequest, 'filter' | 'dryRun' | 'reason'>,
  mayOpen: () => Promise<void> = () => Promise.resolve(),
): Promise<Answer> {
  const { caller, idempotencyKey, correlationId } = request;
  const identity = [caller.userId, endpoint.id, idempotencyKey] as const;
  const replayId = asId<DlqReplayId>(uuid5('dlq-replay', ...identity));
  const operationId = asId<OperationId>(uuid5('operation', ...identity));
  const work: DlqReplayRequest = { ...wanted, operationId, requestedBy: caller.userId, correlationId };
  if ((await findOperation(deps.db.q, operationId)) === undefined) await mayOpen();
  const operation = await openOperation(deps.db.q, {
    id: operationId,
    caller: caller.userId,
    route: endpoint.id,
    key: idempotencyKey,
    bodyHash: canonicalHash({ ...wanted, filter: { ...wanted.filter } }),
    kind: 'dlq_replay.create',
    orgId: caller.orgId,
    entityId: replayId,
    request: { ...work },
    correlationId,
  });
  if (operation.state !== 'open') return createAnswer(operation);
  const input = { replayId, resume: false, operationId } as const;
  const updateId = updateIdOf(...identity);
  const result = await beginReplay(deps.temporal, input, operation.correlationId, updateId);
  return settle(deps, operation, result, createAnswer);
}

async function cancel(deps: ApiDeps, request: RequestContext<typeof adminCancelDlqReplay>): Promise<Answer> {
  const { caller, idempotencyKey, correlationId, params, body } = request;
  const identity = [caller.userId, adminCancelDlqReplay.id, idempotencyKey] as const;
  const replayId = asId<DlqReplayId>(params.dlq_replay_id);
  const found = await getDlqReplayView(deps.db.q, replayId);
  if (found === undefined) throw new CodedError('dlq_replay_not_found');
  const command: DlqReplayCancel = {
    operationId: asId<OperationId>(uuid5('operation', ...identity)),
    actorUserId: caller.userId,
    correlationId,
  };
  const operation = await openCancel(
    deps,
    {
      id: command.operationId,
      caller: caller.userId,
      route: adminCancelDlqReplay.id,
      key: idempotencyKey,
      bodyHash: canonicalHash({ dlq_replay_id: replayId, reason: body.reason }),
      kind: 'dlq_replay.cancel',
      orgId: caller.orgId,
      entityId: replayId,
      request: { ...command, reason: body.reason },
      correlationId,
    },
    command,
    cancelRefusal(found.state),
  );
  if (operation.state !== 'open') return cancelAnswer(operation);
  const opened = { ...command, correlationId: operation.correlationId };
  const result = await cancelReplay(deps.temporal, replayId, opened, updateIdOf(...identity));
  return settle(deps, operation, result, cancelAnswer);
}

/** Opens the operation; a cancellation that is refused at once leaves its audit row with it. */
async function openCancel(
  deps: ApiDeps,
  opening: NewOperation,
  command: DlqReplayCancel,
  code: ReturnType<typeof cancelRefusal>,
): Promise<OpenedOperation> {
  if (code === undefined) return await openOperation(deps.db.q, opening);
  return await deps.db.tx(async (tx) => {
    const operation = await openOperation(tx, opening, { kind: 'refused', code });
    if (operation.inserted) await auditCancelRefused(tx, opening.entityId, command, code);
    return operation;
  });
}

const createAnswer = (operation: OperationRow): Answer => ({
  status: 201,
  body: operation.response,
  headers: { location: `/api/v1/admin/dlq-replays/${operation.entityId}` },
});

function cancelAnswer(operation: OperationRow): Answer {
  const { outcome } = operation;
  if (outcome?.kind === 'refused') throw new CodedError(outcome.code);
  return { status: 200, body: operation.response };
}
