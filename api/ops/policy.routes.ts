import { adminListPolicies, adminSetPolicy } from '../../contracts/ops/policy.api.ts';
import { CodedError } from '../../contracts/errors.ts';
import { isPolicyKey, policyViolation, type PolicyKey } from '../../contracts/policies.ts';
import { writeAudit } from '../../db/audit.ts';
import { setPolicy } from '../../db/ops/policy.store.ts';
import { listPolicyViews, policyView } from '../../db/ops/policy.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { validationError } from '../middleware/errors.ts';
import { route, type Route } from '../route.ts';

/** Policy values, for admins. */
export function policyRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminListPolicies, async () => ({
      status: 200,
      body: { items: await listPolicyViews(deps.db.q) },
    })),
    route(adminSetPolicy, async (request) => {
      const { caller, correlationId } = request;
      const { policy_key: key } = request.params;
      const { value } = request.body;
      if (!isPolicyKey(key)) throw new CodedError('policy_not_found');
      const violation = policyViolation(key, value) ?? (await conflict(deps, key, value));
      if (violation !== undefined) {
        throw validationError({ path: 'body.value', code: 'invalid_value', message: violation });
      }
      const answer = await once(deps, adminSetPolicy, request, async (tx) => {
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

/** A value that fits its own bounds and not another policy. */
async function conflict(deps: ApiDeps, key: PolicyKey, value: unknown): Promise<string | undefined> {
  if (key === 'maas.enabled' && value === true && !deps.config.maasEnabled) {
    return 'MAAS_ENABLED is not set for this installation';
  }
  if (key === 'maas.enabled' && value === false) {
    const model = await deps.policies.get('allocation.isolation_model');
    return model === 'full-reimage'
      ? 'allocation.isolation_model is full-reimage, which needs it'
      : undefined;
  }
  if (key !== 'allocation.isolation_model' || value !== 'full-reimage') return undefined;
  if (!(await deps.policies.get('maas.enabled'))) return 'full-reimage needs maas.enabled';
  // Stored as true by an installation that had MAAS once: this one cannot carry it out.
  return deps.config.maasEnabled ? undefined : 'MAAS_ENABLED is not set for this installation';
}
