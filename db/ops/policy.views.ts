import { isPolicyKey, policies, policyKeys, type PolicyKey } from '../../contracts/policies.ts';
import type { Queryable } from '../client.ts';
import { policyValues } from '../schema.ts';

export interface PolicyView {
  readonly key: PolicyKey;
  readonly type: 'int' | 'bool' | 'string';
  readonly value: number | boolean | string;
  readonly default: number | boolean | string;
  readonly meaning: string;
  readonly updated_at: string | null;
}

/** A key with the value that it has; without one, with its default. */
export const policyView = (
  key: PolicyKey,
  stored?: { readonly value: number | boolean | string; readonly updatedAt: Date | null },
): PolicyView => ({
  key,
  type: policies[key].type,
  value: stored?.value ?? policies[key].default,
  default: policies[key].default,
  meaning: policies[key].meaning,
  updated_at: stored?.updatedAt?.toISOString() ?? null,
});

/** Every declared key, in the order of the declaration. */
export async function listPolicyViews(q: Queryable): Promise<PolicyView[]> {
  const rows = await q.select().from(policyValues);
  const stored = new Map(rows.filter((row) => isPolicyKey(row.key)).map((row) => [row.key, row]));
  return policyKeys.map((key) => policyView(key, stored.get(key)));
}
