import { sql } from 'drizzle-orm';
import {
  isPolicyKey,
  policies,
  policyKeys,
  policyViolation,
  type PolicyKey,
  type PolicyValue,
} from '../../contracts/policies.ts';
import { now } from '../clock.ts';
import type { Queryable, Tx } from '../client.ts';
import { policyValues } from '../schema.ts';
import { statement } from '../statement.ts';

/** Reads policy values; cheap enough to ask at every use. */
export interface PolicyReader {
  /**
   * The value in force: at most 2 s old, older only while Postgres is away.
   * @throws the database's error when none was ever read.
   */
  get<K extends PolicyKey>(key: K): Promise<PolicyValue<K>>;
  /** Forgets what was read: the next `get` sees what was committed before this call. */
  refresh(): void;
}

const maxAgeMs = 2000;
/** After a failed read the old values serve for this long before the next try. */
const retryMs = 1000;

type Values = ReadonlyMap<PolicyKey, number | boolean | string>;

class CachedPolicies implements PolicyReader {
  readonly #q: Queryable;
  #values: Values | undefined;
  #freshUntil = -Infinity;
  #generation = 0;
  #loading: { readonly generation: number; readonly done: Promise<Values> } | undefined;

  constructor(q: Queryable) {
    this.#q = q;
  }

  async get<K extends PolicyKey>(key: K): Promise<PolicyValue<K>> {
    const values =
      this.#values !== undefined && performance.now() < this.#freshUntil ? this.#values : await this.#load();
    const stored = values.get(key);
    // The map only holds values that fit their declaration.
    return (stored ?? policies[key].default) as PolicyValue<K>;
  }

  refresh(): void {
    this.#generation += 1;
    this.#freshUntil = -Infinity;
  }

  async #load(): Promise<Values> {
    if (this.#loading?.generation === this.#generation) return await this.#loading.done;
    const generation = this.#generation;
    const done = this.#read(generation);
    this.#loading = { generation, done };
    try {
      return await done;
    } finally {
      if (this.#loading.done === done) this.#loading = undefined;
    }
  }

  async #read(generation: number): Promise<Values> {
    try {
      const values = await readPolicies(this.#q);
      if (generation === this.#generation) {
        this.#values = values;
        this.#freshUntil = performance.now() + maxAgeMs;
      }
      return values;
    } catch (error) {
      if (this.#values === undefined) throw error;
      this.#freshUntil = performance.now() + retryMs;
      return this.#values;
    }
  }
}

/** A reader that caches for 2 s. */
export const createPolicyReader = (q: Queryable): PolicyReader => new CachedPolicies(q);

async function readPolicies(q: Queryable): Promise<Values> {
  const rows = await q.select({ key: policyValues.key, value: policyValues.value }).from(policyValues);
  const values = new Map<PolicyKey, number | boolean | string>();
  for (const { key, value } of rows) {
    if (isPolicyKey(key) && policyViolation(key, value) === undefined) values.set(key, value);
  }
  return values;
}

/** Any number; all processes use the same. */
const policyLock = '7305214402';

const lockPolicies = statement<Record<string, never>, object>(
  'policy-lock',
  `select pg_advisory_xact_lock(${policyLock})::text`,
);

/** Every stored value, with which nobody else compares one of theirs until the transaction ends. */
export async function lockedPolicies(tx: Tx): Promise<Values> {
  await lockPolicies(tx, {});
  return await readPolicies(tx);
}

/** Sets a value that fits its declaration and gives what stood before (the default when nothing did). */
export async function setPolicy(
  tx: Tx,
  key: PolicyKey,
  value: number | boolean | string,
): Promise<{ readonly before: number | boolean | string; readonly updatedAt: Date }> {
  const [old] = await tx
    .select({ value: policyValues.value })
    .from(policyValues)
    .where(sql`${policyValues.key} = ${key}`)
    .for('update');
  const [row] = await tx
    .insert(policyValues)
    .values({ key, value, updatedAt: now })
    .onConflictDoUpdate({ target: policyValues.key, set: { value, updatedAt: now } })
    .returning({ updatedAt: policyValues.updatedAt });
  if (row?.updatedAt == null) throw new Error('the policy was not written');
  return { before: old?.value ?? policies[key].default, updatedAt: row.updatedAt };
}

/** Writes the default of every key that has no row; never touches a value that is there. */
export async function seedPolicies(q: Queryable): Promise<void> {
  const rows = policyKeys.map((key) => ({ key, value: policies[key].default }));
  await q.insert(policyValues).values(rows).onConflictDoNothing();
}
