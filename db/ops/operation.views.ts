import { errorCatalogue } from '../../contracts/errors.ts';
import type { OperationKind, OperationView } from '../../contracts/ops/operation.api.ts';
import type { OperationRow } from './operation.store.ts';

const entityPaths: Readonly<Record<OperationKind, string>> = {
  'allocation.create': '/api/v1/allocations',
  'allocation.release': '/api/v1/allocations',
  'allocation.force_release': '/api/v1/allocations',
  'dlq_replay.create': '/api/v1/admin/dlq-replays',
  'dlq_replay.cancel': '/api/v1/admin/dlq-replays',
};

/** The public view of an operation. */
export function operationView(row: OperationRow): OperationView {
  const { outcome } = row;
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    entity_id: row.entityId,
    entity_url: `${entityPaths[row.kind]}/${row.entityId}`,
    error:
      outcome?.kind === 'refused'
        ? {
            code: outcome.code,
            message: errorCatalogue[outcome.code].message,
            correlation_id: row.correlationId,
            ...(outcome.details === undefined ? {} : { details: { ...outcome.details } }),
          }
        : null,
    created_at: row.createdAt.toISOString(),
    decided_at: row.decidedAt?.toISOString() ?? null,
  };
}
