import { createHash, randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { policies, policyKeys } from '../../contracts/policies.ts';
import { seed, seedCatalogue } from '../../db/seed.ts';
import { field, startApiHarness, startTimeoutMs, type ApiAnswer, type ApiHarness } from '../harness/api.ts';
import { subjectOf } from '../harness/lab.ts';
import { plantLetters } from '../ops/letters.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness();
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const admin = (
  method: string,
  path: string,
  options: { body?: unknown; key?: string } = {},
): Promise<ApiAnswer> => h.request(method, path, { as: 'dev-admin', ...options });
const nodeBody = (sku = 'h100-8x') => ({ name: `n-${randomUUID()}`, sku, ssh_host: 'node.example.org' });
const items = <T>(answer: ApiAnswer): T[] => field(answer, 'items') as T[];

interface AuditRow {
  readonly actor_user_id: string | null;
  readonly actor_role: string;
  readonly action: string;
  readonly target_type: string;
  readonly target_id: string | null;
  readonly result: string;
  readonly correlation_id: string;
}

describe('adminRegisterNode', () => {
  it('201: enrolling, with the secret; the repeat gives it again, and nothing keeps it', async () => {
    const [body, key] = [nodeBody(), randomUUID()];
    const made = await admin('POST', '/api/v1/admin/nodes', { body, key });
    expect(made).toMatchObject({
      status: 201,
      body: {
        name: body.name,
        state: 'enrolling',
        occupancy: 'free',
        slot_count: 8,
        ssh_port: 22,
        last_contact_at: null,
      },
    });
    const secret = String(field(made, 'agent_secret'));
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect((await admin('POST', '/api/v1/admin/nodes', { body, key })).body).toEqual(made.body);
    const kept = await h.db.q.execute<{ text: string }>(sql`
      select row_to_json(t)::text as text from idempotency_records t
      union all select row_to_json(a)::text from audit_logs a union all select row_to_json(n)::text from nodes n`);
    const all = kept.rows.map((row) => row.text).join('\n');
    expect(all).toContain('[REDACTED]');
    expect(all).toContain(createHash('sha256').update(secret).digest('hex'));
    expect(all + h.log.join('\n')).not.toContain(secret);
  });

  it('409 for a taken name, 404 for an unknown SKU, 400 for a bad name, and none of them is audited as done', async () => {
    const body = nodeBody();
    expect((await admin('POST', '/api/v1/admin/nodes', { body })).status).toBe(201);
    expect(await admin('POST', '/api/v1/admin/nodes', { body })).toMatchObject({
      status: 409,
      body: { code: 'node_already_exists' },
    });
    expect(await admin('POST', '/api/v1/admin/nodes', { body: nodeBody('none') })).toMatchObject({
      status: 404,
      body: { code: 'sku_not_found' },
    });
    expect(
      (await admin('POST', '/api/v1/admin/nodes', { body: { ...nodeBody(), name: 'Bad Name' } })).status,
    ).toBe(400);
    const rows = items<AuditRow & { details: { name?: string } }>(
      await admin('GET', '/api/v1/admin/audit-logs?action=node.register&limit=200'),
    );
    expect(rows.filter((row) => row.details.name === body.name)).toHaveLength(1);
  });
});

describe('adminListNodes and adminGetNode', () => {
  it('200: by name, page by page, with filters', async () => {
    for (let n = 0; n < 3; n += 1) await admin('POST', '/api/v1/admin/nodes', { body: nodeBody('l40s-4x') });
    const first = await admin(
      'GET',
      '/api/v1/admin/nodes?sku=l40s-4x&limit=2&state=enrolling&occupancy=free',
    );
    const second = await admin(
      'GET',
      `/api/v1/admin/nodes?sku=l40s-4x&limit=2&cursor=${String(field(first, 'next_cursor'))}`,
    );
    const names = [first, second].flatMap((page) => items<{ name: string }>(page).map((item) => item.name));
    expect(names).toHaveLength(3);
    expect(names).toEqual([...names].sort());
    expect(items(await admin('GET', '/api/v1/admin/nodes?sku=l40s-4x&occupancy=allocated'))).toEqual([]);
  });

  it('404 for an unknown node', async () => {
    expect(await admin('GET', `/api/v1/admin/nodes/${randomUUID()}`)).toMatchObject({
      status: 404,
      body: { code: 'node_not_found' },
    });
  });

  it('a taken slot makes a node allocated, a quarantined one is counted, and neither is available', async () => {
    const node = await admin('POST', '/api/v1/admin/nodes', { body: nodeBody('rtx4090-1x') });
    const id = String(field(node, 'id'));
    const available = async (): Promise<number | undefined> =>
      items<{ code: string; available: number }>(await admin('GET', '/api/v1/catalog/skus')).find(
        (sku) => sku.code === 'rtx4090-1x',
      )?.available;
    expect(await available()).toBe(0);
    await h.db.q.execute(
      sql`update nodes set state = 'available', last_contact_at = gpuaas_now() where id = ${id}::uuid`,
    );
    expect(await available()).toBe(1);
    await h.db.q.execute(
      sql`update nodes set last_contact_at = gpuaas_now() - interval '61 s' where id = ${id}::uuid`,
    );
    expect(await available()).toBe(0);
    await h.db.q.execute(sql`update nodes set last_contact_at = gpuaas_now() where id = ${id}::uuid`);
    await h.db.q.execute(
      sql`insert into placements values (${id}::uuid, 0, ${randomUUID()}::uuid, gpuaas_now(), gpuaas_now())`,
    );
    expect(await available()).toBe(0);
    const seen = await admin('GET', `/api/v1/admin/nodes/${id}`);
    expect(seen.body).toMatchObject({ occupancy: 'allocated', slots_quarantined: 1 });
  });
});

describe('the catalogue', () => {
  it('200: what is on offer, with price; the seed can run again and overwrites nothing', async () => {
    await h.db.q.execute(sql`update skus set price_per_hour_minor = 1 where code = 'a100-8x'`);
    await h.db.q.execute(sql`update skus set offered = false where code = 'h100-1x'`);
    await seed(h.db);
    const skus = items<{ code: string; price_per_hour: unknown }>(
      await h.request('GET', '/api/v1/catalog/skus', { as: 'dev-user' }),
    );
    expect(skus.map((sku) => sku.code)).toEqual(
      seedCatalogue
        .map((sku) => sku.code)
        .filter((code) => code !== 'h100-1x')
        .sort(),
    );
    expect(skus.find((sku) => sku.code === 'a100-8x')?.price_per_hour).toEqual({
      amount_minor: 1,
      currency: 'USD',
    });
  });
});

describe('small lists', () => {
  it.each(['/api/v1/catalog/skus', '/api/v1/admin/policies'])(
    '200: %s page by page, each item once',
    async (at) => {
      const whole = items(await admin('GET', at));
      const walked: unknown[] = [];
      for (let cursor: unknown = ''; cursor !== null;) {
        const page = await admin('GET', `${at}?limit=3${cursor === '' ? '' : `&cursor=${String(cursor)}`}`);
        expect(page.status).toBe(200);
        cursor = field(page, 'next_cursor');
        expect(items(page)).toHaveLength(Math.min(3, whole.length - walked.length));
        walked.push(...items(page));
      }
      expect(walked).toEqual(whole);
      expect(walked.length).toBeGreaterThan(3);
      for (const query of ['limit=0', 'limit=201', 'cursor=x', 'unknown=1'])
        expect((await admin('GET', `${at}?${query}`)).status, query).toBe(400);
    },
  );
});

describe('policies', () => {
  it('200: every key, with the default until it is set', async () => {
    const all = items<{ key: string; value: unknown; default: unknown; updated_at: unknown }>(
      await admin('GET', '/api/v1/admin/policies'),
    );
    expect(all.map((one) => one.key)).toEqual(policyKeys);
    for (const one of all) {
      expect(one).toMatchObject({
        default: policies[one.key as keyof typeof policies].default,
        value: one.default,
        updated_at: null,
      });
    }
  });

  // prettier-ignore
  it.each([
    ['billing.window_seconds',             30,             200],
    ['billing.window_seconds',             0,              400],
    ['billing.window_seconds',             1.5,            400],
    ['billing.window_seconds',             '30',           400],
    ['maas.enabled',                       true,           200],
    ['maas.enabled',                       1,              400],
    ['allocation.isolation_model',         'full-reimage', 400],
    ['allocation.isolation_model',         'none',         400],
    ['allocation.isolation_model',         'user-revoke',  200],
    ['maas.enabled',                       false,          200],
    ['billing.unknown',                    1,              404],
  ])('%s = %j: %i', async (key, value, status) => {
    const answer = await admin('PUT', `/api/v1/admin/policies/${key}`, { body: { value } });
    expect(answer.status).toBe(status);
    if (status !== 200) return;
    expect(answer.body).toMatchObject({ key, value, updated_at: expect.any(String) });
    const [row] = items<AuditRow & { details: unknown }>(await admin('GET', `/api/v1/admin/audit-logs?target_id=${key}&limit=1`));
    expect(row).toMatchObject({ action: 'policy.set', details: { after: value } });
  });

  it('the seed can run again: a policy that was changed stays, one that is missing gets its default', async () => {
    const [changed, missing] = ['allocation.refund_window_days', 'terminal.session_max_ttl_seconds'] as const;
    const path = `/api/v1/admin/policies/${changed}`;
    const set = await admin('PUT', path, { body: { value: 7 } });
    await h.db.q.execute(sql`delete from policy_values where key = ${missing}`);
    await seed(h.db);
    const all = items<{ key: string }>(await admin('GET', '/api/v1/admin/policies'));
    expect(all.find((one) => one.key === changed)).toEqual(set.body);
    const rows = await h.db.q.execute<{ value: unknown }>(
      sql`select value from policy_values where key = ${missing}`,
    );
    expect(rows.rows).toEqual([{ value: policies[missing].default }]);
  });

  it('a concurrent write under one key is done once', async () => {
    const key = randomUUID();
    const send = () =>
      admin('PUT', '/api/v1/admin/policies/billing.minimum_deposit_minor', { body: { value: 1234 }, key });
    const answers = await Promise.all(Array.from({ length: 10 }, send));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    const rows = items(
      await admin('GET', '/api/v1/admin/audit-logs?target_id=billing.minimum_deposit_minor'),
    );
    expect(rows).toHaveLength(1);
  });
});

describe('adminListAuditLogs', () => {
  it('200: newest first, page by page, each row once', async () => {
    for (const value of [100, 200, 300]) {
      await admin('PUT', '/api/v1/admin/policies/rate_limit.financial_requests_per_minute', {
        body: { value },
      });
    }
    const at = '/api/v1/admin/audit-logs?target_id=rate_limit.financial_requests_per_minute&limit=2';
    const first = await admin('GET', at);
    const second = await admin('GET', `${at}&cursor=${String(field(first, 'next_cursor'))}`);
    const seen = [first, second].flatMap((page) =>
      items<{ details: { after: number } }>(page).map((row) => row.details.after),
    );
    expect(seen).toEqual([300, 200, 100]);
    expect(field(second, 'next_cursor')).toBeNull();
  });

  it.each([
    'from=0000-01-01T00:00:00Z',
    'to=9999-12-31T23:59:59.999Z',
    'to=9999-12-31T23:59:59-01:00',
    'from=0001-01-01T00:00:00%2B01:00',
    'from=2020-01-01T00:00:00%2B02:00',
    `actor_user_id=${randomUUID()}`,
    'action=%27%3B--',
  ])('200 for ?%s', async (query) => {
    expect((await admin('GET', `/api/v1/admin/audit-logs?${query}`)).status).toBe(200);
    if (/^(from|to)=/.test(query))
      expect((await admin('GET', `/api/v1/admin/events?${query}`)).status).toBe(200);
  });

  it('200: an id in any spelling, also of a refusal', async () => {
    const id = randomUUID();
    const at = `/api/v1/admin/allocations/${id.toUpperCase()}/force-release`;
    const refused = await h.request('POST', at, { as: 'dev-user', body: { reason: 'r' } });
    expect(refused.status).toBe(403);
    for (const target of [id, id.toUpperCase()]) {
      const rows = items<AuditRow>(await admin('GET', `/api/v1/admin/audit-logs?target_id=${target}`));
      expect(rows).toMatchObject([{ target_id: id, result: 'refused' }]);
    }
    // What a client chose as its correlation id keeps its spelling.
    const correlation = id.toUpperCase();
    const headers = { 'x-correlation-id': correlation };
    await h.request('POST', at, { as: 'dev-user', body: { reason: 'r' }, headers });
    const rows = items<AuditRow>(
      await admin('GET', `/api/v1/admin/audit-logs?correlation_id=${correlation}`),
    );
    expect(rows).toMatchObject([{ correlation_id: correlation }]);
  });

  it.each(['from=yesterday', 'result=maybe', 'action=%00', 'actor_user_id=me', 'cursor=bm90aGluZw'])(
    '400 for ?%s',
    async (query) => {
      expect((await admin('GET', `/api/v1/admin/audit-logs?${query}`)).status).toBe(400);
    },
  );
});

describe('every privileged mutation', () => {
  /** How each is called so that it succeeds here, and what it changes; a lifecycle's is audited by its own activity. */
  const calls: Readonly<
    Record<string, { readonly call: () => Promise<ApiAnswer>; readonly target: string } | 'by its lifecycle'>
  > = {
    'node.register': {
      call: () => admin('POST', '/api/v1/admin/nodes', { body: nodeBody() }),
      target: 'id',
    },
    'policy.set': {
      call: () => admin('PUT', '/api/v1/admin/policies/maas.enabled', { body: { value: false } }),
      target: 'key',
    },
    'allocation.force_release': 'by its lifecycle',
    'dead_letter.replay': 'by its lifecycle',
    'dlq_replay.create': 'by its lifecycle',
    'dlq_replay.cancel': 'by its lifecycle',
    'dead_letter.discard': {
      call: async () => {
        const [id] = await plantLetters(h.db, 'trial.operators', 1);
        return admin('POST', `/api/v1/admin/dead-letters/${id}/discard`, { body: { reason: 'test' } });
      },
      target: 'id',
    },
  };
  const audited = endpoints.filter((one) => one.audit !== undefined);
  const newest = async (action: string): Promise<AuditRow | undefined> =>
    items<AuditRow>(await admin('GET', `/api/v1/admin/audit-logs?action=${action}&limit=1`))[0];

  it('is known to this test', () => {
    expect(audited.map((one) => one.audit ?? '').sort()).toEqual(Object.keys(calls).sort());
    const unaudited = endpoints.filter(
      (one) => one.auth === 'admin' && one.method !== 'get' && one.audit === undefined,
    );
    expect(unaudited).toEqual([]);
  });

  it.each(audited.map((one) => [one.id, one] as const))(
    '%s leaves a row of the refusal and of the success',
    async (_id, one) => {
      const action = one.audit ?? '';
      const [targetType] = action.split('.');
      const target =
        one.params === undefined ? null : one.path.includes('policy_key') ? 'maas.enabled' : randomUUID();
      const path = one.path.replace(/\{[a-z_]+\}/, target ?? '');
      const refused = await h.request(one.method.toUpperCase(), path, { as: 'dev-user', body: {} });
      expect(refused).toMatchObject({ status: 403, body: { code: 'admin_required' } });
      expect(await newest(action)).toMatchObject({
        actor_user_id: subjectOf('dev-user'),
        actor_role: 'user',
        action,
        target_type: targetType,
        target_id: target,
        result: 'refused',
        correlation_id: field(refused, 'correlation_id'),
      });
      const done = calls[action];
      if (typeof done !== 'object') return;
      const answer = await done.call();
      expect(answer.status).toBeLessThan(300);
      expect(await newest(action)).toMatchObject({
        actor_user_id: subjectOf('dev-admin'),
        actor_role: 'admin',
        action,
        target_type: targetType,
        target_id: field(answer, done.target),
        result: 'succeeded',
        correlation_id: answer.headers.get('x-correlation-id'),
      });
    },
  );
});
