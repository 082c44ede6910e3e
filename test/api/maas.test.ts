/** An installation that may not use MAAS (D-0010): nobody can promise its tenants a re-imaged node. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PolicyKey } from '../../contracts/policies.ts';
import { startApiHarness, startTimeoutMs, type ApiAnswer, type ApiHarness } from '../harness/api.ts';

const valueOf = async (h: ApiHarness, key: PolicyKey): Promise<unknown> => {
  const found = await h.db.q.execute<{ value: unknown }>(
    sql`select value from policy_values where key = ${key}`,
  );
  return found.rows[0]?.value;
};
const set = (h: ApiHarness, key: PolicyKey, value: boolean | string): Promise<ApiAnswer> =>
  h.request('PUT', `/api/v1/admin/policies/${key}`, { as: 'dev-admin', body: { value } });
const refusedWith = (message: string) => ({
  status: 400,
  body: { code: 'validation_error', details: { issues: [{ path: 'body.value', message }] } },
});

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
    expect(await set(h, 'allocation.isolation_model', 'full-reimage')).toMatchObject(
      refusedWith('full-reimage needs maas.enabled'),
    );
    expect(await valueOf(h, 'maas.enabled')).toBe(false);
    expect(await valueOf(h, 'allocation.isolation_model')).toBe('user-revoke');
  });

  it('takes what promises nothing', async () => {
    expect((await set(h, 'maas.enabled', false)).status).toBe(200);
    expect((await set(h, 'allocation.isolation_model', 'user-revoke')).status).toBe(200);
  });

  it('refuses full-reimage also where maas.enabled was stored before the installation lost MAAS', async () => {
    await h.db.q.execute(sql`update policy_values set value = 'true' where key = 'maas.enabled'`);
    // The refusal may rest on what was read up to two seconds ago: a change through the API makes it read anew.
    expect((await set(h, 'allocation.isolation_model', 'user-revoke')).status).toBe(200);
    expect((await set(h, 'allocation.isolation_model', 'full-reimage')).status).toBe(400);
    expect(await valueOf(h, 'allocation.isolation_model')).toBe('user-revoke');
  });
});
