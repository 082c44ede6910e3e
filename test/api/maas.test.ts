/** MAAS and full re-imaging (D-0010): nobody can promise a tenant a re-imaged node. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PolicyKey } from '../../contracts/policies.ts';
import { lockedPolicies, setPolicy } from '../../db/ops/policy.store.ts';
import { field, startApiHarness, startTimeoutMs, type ApiAnswer, type ApiHarness } from '../harness/api.ts';

const valueOf = async (h: ApiHarness, key: PolicyKey): Promise<unknown> => {
  const found = await h.db.q.execute<{ value: unknown }>(
    sql`select value from policy_values where key = ${key}`,
  );
  return found.rows[0]?.value;
};
const set = (
  h: ApiHarness,
  key: PolicyKey,
  value: boolean | string,
  idempotencyKey: string = randomUUID(),
): Promise<ApiAnswer> =>
  h.request('PUT', `/api/v1/admin/policies/${key}`, {
    as: 'dev-admin',
    body: { value },
    key: idempotencyKey,
  });
/** As a version that had an adapter, or a hand, could have stored it. */
const plant = (h: ApiHarness, key: PolicyKey, value: boolean | string) =>
  h.db.tx((tx) => setPolicy(tx, key, value));
const refusedWith = (message: string) => ({
  status: 400,
  body: { code: 'validation_error', details: { issues: [{ path: 'body.value', message }] } },
});
const noAdapter = refusedWith('full-reimage needs a MAAS adapter, which this version does not have');
const stillNeeded = refusedWith('allocation.isolation_model is full-reimage, which needs it');

/** Empty counts as not set. */
describe.each(['false', ''])('MAAS_ENABLED=%s', (given) => {
  let h: ApiHarness;
  beforeAll(async () => {
    h = await startApiHarness({ environment: { MAAS_ENABLED: given } });
  }, startTimeoutMs);
  afterAll(() => h?.stop(), startTimeoutMs);

  it('refuses maas.enabled = true and full-reimage, and keeps what was set', async () => {
    expect(h.config.maasEnabled).toBe(false);
    expect(await set(h, 'maas.enabled', true)).toMatchObject(
      refusedWith('MAAS_ENABLED is not set for this installation'),
    );
    expect(await set(h, 'allocation.isolation_model', 'full-reimage')).toMatchObject(noAdapter);
    expect(await valueOf(h, 'maas.enabled')).toBe(false);
    expect(await valueOf(h, 'allocation.isolation_model')).toBe('user-revoke');
  });

  it('takes what promises nothing', async () => {
    expect((await set(h, 'maas.enabled', false)).status).toBe(200);
    expect((await set(h, 'allocation.isolation_model', 'user-revoke')).status).toBe(200);
  });

  it('refuses full-reimage also where maas.enabled was stored before the installation lost MAAS', async () => {
    await plant(h, 'maas.enabled', true);
    expect(await set(h, 'allocation.isolation_model', 'full-reimage')).toMatchObject(noAdapter);
    expect(await valueOf(h, 'allocation.isolation_model')).toBe('user-revoke');
  });
});

describe('MAAS_ENABLED=true', () => {
  let h: ApiHarness;
  beforeAll(async () => {
    h = await startApiHarness({ environment: { MAAS_ENABLED: 'true' } });
  }, startTimeoutMs);
  afterEach(async () => {
    await plant(h, 'allocation.isolation_model', 'user-revoke');
    await plant(h, 'maas.enabled', false);
  });
  afterAll(() => h?.stop(), startTimeoutMs);

  it('refuses full-reimage also with maas.enabled', async () => {
    expect((await set(h, 'maas.enabled', true)).status).toBe(200);
    expect(await set(h, 'allocation.isolation_model', 'full-reimage')).toMatchObject(noAdapter);
    expect(await valueOf(h, 'allocation.isolation_model')).toBe('user-revoke');
  });

  it('refuses a new allocation while full-reimage is stored, and takes none of its nodes', async () => {
    const personal = await h.request('GET', '/api/v1/auth/personal', { as: 'dev-user' });
    const { id: projectId } = field(personal, 'default_project') as { id: string };
    const node = { name: 'n-1', sku: 'h100-8x', ssh_host: 'node.example.org' };
    await h.request('POST', '/api/v1/admin/nodes', { as: 'dev-admin', body: node });
    await h.db.q.execute(sql`update nodes set state = 'available', last_contact_at = gpuaas_now()`);
    await plant(h, 'allocation.isolation_model', 'full-reimage');
    const body = { project_id: projectId, sku: 'h100-8x' };
    const create = () => h.request('POST', '/api/v1/allocations', { as: 'dev-user', body });
    expect(await create()).toMatchObject({ status: 409, body: { code: 'sku_unavailable' } });
    await plant(h, 'allocation.isolation_model', 'user-revoke');
    // No engine takes part: a request that nothing speaks against gets as far as its silence.
    expect(await create()).toMatchObject({ status: 503, body: { code: 'service_unavailable' } });
  });

  it('answers a repeat as it answered the first, whatever another policy says by then', async () => {
    const key = randomUUID();
    const first = await set(h, 'maas.enabled', false, key);
    expect(first.status).toBe(200);
    await plant(h, 'allocation.isolation_model', 'full-reimage');
    const again = await set(h, 'maas.enabled', false, key);
    expect([again.status, again.body]).toEqual([200, first.body]);
    expect(await set(h, 'maas.enabled', false)).toMatchObject(stillNeeded);
  });

  it('compares with what another replica is writing just now', async () => {
    await plant(h, 'maas.enabled', true);
    // Read by this process before: what it remembers does not count.
    expect((await h.request('GET', '/api/v1/catalog/skus', { as: 'dev-user' })).status).toBe(200);
    let answer: Promise<ApiAnswer> | undefined;
    await h.db.tx(async (tx) => {
      await lockedPolicies(tx);
      await setPolicy(tx, 'allocation.isolation_model', 'full-reimage');
      answer = set(h, 'maas.enabled', false);
      await vi.waitFor(
        async () => {
          const { rows } = await h.db.q.execute(
            sql`select from pg_locks where locktype = 'advisory' and not granted`,
          );
          expect(rows).toHaveLength(1);
        },
        { timeout: 5000, interval: 20 },
      );
    });
    expect(await answer).toMatchObject(stillNeeded);
    expect(await valueOf(h, 'maas.enabled')).toBe(true);
  });
});
