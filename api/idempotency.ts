import type { Endpoint } from '../contracts/http.api.ts';
import type { Tx } from '../db/client.ts';
import { idempotent, type StoredAnswer } from '../db/ops/idempotency.store.ts';
import type { ApiDeps } from './deps.ts';
import { canonicalHash } from './middleware/canonical.ts';
import type { Caller } from './route.ts';

/** What of a request makes its idempotency. */
export interface IdempotentRequest {
  readonly caller: Caller;
  readonly idempotencyKey: string;
  readonly params?: unknown;
  readonly body?: unknown;
}

/**
 * Runs a change of plain records once per caller, endpoint and key, in one transaction.
 * @throws CodedError idempotency_key_reused, and whatever `work` throws.
 */
export async function once(
  deps: Pick<ApiDeps, 'db'>,
  endpoint: Endpoint,
  request: IdempotentRequest,
  work: (tx: Tx) => Promise<StoredAnswer>,
): Promise<StoredAnswer> {
  const bodyHash = canonicalHash({ params: request.params, body: request.body });
  const key = { caller: request.caller.userId, route: endpoint.id, key: request.idempotencyKey, bodyHash };
  return await idempotent(deps.db, key, work);
}
