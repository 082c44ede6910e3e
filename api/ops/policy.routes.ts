import { adminListPolicies, adminSetPolicy } from '../../contracts/ops/policy.api.ts';
import { CodedError } from '../../contracts/errors.ts';
import {
  isPolicyKey,
  policyViolation,
  unkeptIsolationModel,
  type PolicyKey,
} from '../../contracts/policies.ts';
import { writeAudit } from '../../db/audit.ts';
import { lockedPolicies, setPolicy } from '../../db/ops/policy.store.ts';
import { listPolicyViews, policyView } from '../../db/ops/policy.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { validationError } from '../middleware/errors.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** Policy values, for admins. */
export function policyRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminListPolicies, async ({ query: { limit, cursor } }) => {
      const [after] = readCursor(cursor, ['text']) ?? [];
      const all = await listPolicyViews(deps.db.q);
      // A key that is gone begins anew.
      const start = all.findIndex(({ key }) => key === after) + 1;
      return pageAnswer(all.slice(start, start + limit + 1), limit, ({ key }) => [key]);
    }),
    route(adminSetPolicy, async (request) => {
      const { caller, correlationId } = request;
      const { policy_key: key } = request.params;
      const { value } = request.body;
      if (!isPolicyKey(key)) throw new CodedError('policy_not_found');
      const answer = await once(deps, adminSetPolicy, request, async (tx) => {
        const stored = await lockedPolicies(tx);
        const violation = policyViolation(key, value) ?? conflict(deps.config, stored, key, value);
        if (violation !== undefined) {
          throw validationError({ path: 'body.value', code: 'invalid_value', message: violation });
        }
        const { before, updatedAt } = await setPolicy(tx, key, value);
        await writeAudit(tx, {
          actorUserId: caller.userId,
          actorRole: 'admin',
          action: 'policy.set',
          targetType: 'policy',
          targetId: key,
          result: 'succeeded',
          correlationId,
          details: { before, after: value },
        });
        return { status: 200, body: { ...policyView(key, { value, updatedAt }) } };
      });
      deps.policies.refresh();
      return answer;
    }),
  ];
}

/** Why a value within its own bounds cannot be: what this installation lacks, or another policy as it is stored. */
function conflict(
  { maasEnabled }: Pick<ApiDeps['config'], 'maasEnabled'>,
  stored: ReadonlyMap<PolicyKey, unknown>,
  key: PolicyKey,
  value: unknown,
): string | undefined {
  if (key === 'allocation.isolation_model' && value === unkeptIsolationModel) {
    return `${unkeptIsolationModel} needs a MAAS adapter, which this version does not have`;
  }
  if (key !== 'maas.enabled') return undefined;
  if (value === true) return maasEnabled ? undefined : 'MAAS_ENABLED is not set for this installation';
  return stored.get('allocation.isolation_model') === unkeptIsolationModel
    ? `allocation.isolation_model is ${unkeptIsolationModel}, which needs it`
    : undefined;
}
