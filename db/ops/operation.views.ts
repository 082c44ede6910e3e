import { errorCatalogue } from '../../contracts/errors.ts';
import type { OperationView } from '../../contracts/ops/operation.api.ts';
import type { OperationRow } from './operation.store.ts';

/** The public view of an operation. */
export function operationView(row: OperationRow): OperationView {
  const { outcome } = row;
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    entity_id: row.entityId,
    entity_url: `/api/v1/allocations/${row.entityId}`,
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
