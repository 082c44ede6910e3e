import { CodedError } from '../../contracts/errors.ts';
import { getOperation } from '../../contracts/ops/operation.api.ts';
import { findOperation } from '../../db/ops/operation.store.ts';
import { operationView } from '../../db/ops/operation.views.ts';
import type { ApiDeps } from '../deps.ts';
import { route, type Route } from '../route.ts';

/** What became of a mutation: its caller's own, and every one for admins. */
export function operationRoutes(deps: ApiDeps): Route[] {
  return [
    route(getOperation, async ({ caller, params }) => {
      const row = await findOperation(deps.db.q, params.operation_id);
      if (row === undefined) throw new CodedError('operation_not_found');
      if (row.caller !== caller.userId && !caller.isAdmin) {
        throw new CodedError(row.orgId === caller.orgId ? 'ownership_required' : 'operation_not_found');
      }
      return { status: 200, body: operationView(row) };
    }),
  ];
}
