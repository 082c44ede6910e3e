import { CodedError } from '../../contracts/errors.ts';
import {
  bootstrapPersonal,
  getPersonal,
  login,
  refreshToken,
} from '../../contracts/identity/personal.api.ts';
import { getPersonalView } from '../../db/identity/personal.views.ts';
import type { Queryable } from '../../db/client.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { route, type Caller, type Route } from '../route.ts';

/** Who you are, and sessions at the issuer. */
export function personalRoutes(deps: ApiDeps): Route[] {
  return [
    // Authentication made the records already, as it does on every endpoint.
    route(bootstrapPersonal, (request) =>
      once(deps, bootstrapPersonal, request, async (tx) => ({
        status: 200,
        body: await personal(tx, request.caller),
      })),
    ),
    route(getPersonal, async ({ caller }) => ({ status: 200, body: await personal(deps.db.q, caller) })),
    route(refreshToken, async ({ body }) => ({
      status: 200,
      body: await deps.sessions.refresh(body.refresh_token),
    })),
  ];
}

/** Trades a password for tokens; served in development only. */
export function developmentRoutes(deps: ApiDeps): Route[] {
  if (deps.config.environment !== 'development') return [];
  return [
    route(login, async ({ body }) => ({
      status: 200,
      body: await deps.sessions.password(body.username, body.password),
    })),
  ];
}

async function personal(q: Queryable, caller: Caller) {
  const view = await getPersonalView(q, caller.userId);
  if (view === undefined) throw new CodedError('internal_error');
  return { user_id: caller.userId, org_id: caller.orgId, roles: [...caller.roles], ...view };
}
