import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { field, startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness();
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

interface Raw {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: unknown;
}

/** A request with exactly these headers and bytes. */
function raw(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: Buffer | string,
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${h.api.publicUrl}${path}`, { method, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: text === '' ? undefined : JSON.parse(text),
        });
      });
    });
    // A refused upload ends while it is still being sent.
    request.on('error', (error) => ('code' in error && error.code === 'EPIPE' ? undefined : reject(error)));
    request.end(body);
  });
}

const post = async (
  headers: Record<string, string>,
  body?: Buffer | string,
  path = '/api/v1/projects',
): Promise<Raw> => {
  const authorization = `Bearer ${await h.token('dev-user')}`;
  return await raw('POST', path, { authorization, 'x-idempotency-key': randomUUID(), ...headers }, body);
};
const json = { 'content-type': 'application/json' };
const valid = (): string => JSON.stringify({ name: `p-${randomUUID()}` });

describe('paths and methods', () => {
  it.each([
    '/',
    '/api',
    '/api/v1',
    '/api/v1/projects/',
    '/API/v1/projects',
    '/api/v1//projects',
    '/internal/v1/nodes/x/tasks/wait',
    '/docs/../healthz/x',
  ])('404 invalid_request for %s, token or not', async (path) => {
    expect(await raw('GET', path, {})).toMatchObject({ status: 404, body: { code: 'invalid_request' } });
  });

  it.each(['PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'TRACE', 'PUT'])(
    '405 with Allow for %s, before anything else',
    async (method) => {
      const answer = await raw(method, '/api/v1/projects', { 'content-type': 'text/plain' });
      expect(answer.status).toBe(405);
      expect(answer.headers['allow']).toBe('GET, POST');
      if (method !== 'HEAD') expect(answer.body).toMatchObject({ code: 'invalid_request' });
    },
  );

  it('every endpoint of the public contract is served', async () => {
    for (const one of endpoints.filter(({ listener }) => listener === 'public')) {
      const path = one.path.replace(/\{[a-z_]+\}/g, randomUUID());
      const answer = await h.request(one.method.toUpperCase(), path);
      expect(answer.status, one.id).not.toBe(404);
      expect(answer.status, one.id).not.toBe(405);
    }
  });

  it.each(['/metrics', '/docs', '/docs/openapi.yaml'])('405 for a POST of %s', async (path) => {
    const answer = await h.request('POST', path);
    expect(answer).toMatchObject({ status: 405, body: { code: 'invalid_request' } });
    expect(answer.headers.get('allow')).toBe('GET');
  });

  it('400 in the envelope for what is no HTTP', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(new URL(h.api.publicUrl).port), '127.0.0.1', () =>
        socket.write('HELLO\r\n\r\n'),
      );
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"code":"invalid_request"');
  });
});

describe('correlation ids', () => {
  it('a good one is kept, in the answer, in errors and in the log', async () => {
    const correlation = `trace/${randomUUID()}`;
    const answer = await h.request('GET', '/api/v1/projects', {
      headers: { 'x-correlation-id': correlation },
    });
    expect(answer.headers.get('x-correlation-id')).toBe(correlation);
    expect(answer.body).toMatchObject({ code: 'token_missing', correlation_id: correlation });
    expect(h.log.some((line) => line.includes(correlation))).toBe(true);
  });

  it.each(['a b', 'x'.repeat(129), 'ä'])('%s is replaced by a uuid', async (given) => {
    const answer = await raw('GET', '/healthz', {
      'x-correlation-id': Buffer.from(given).toString('latin1'),
    });
    expect(answer.status).toBe(200);
    expect(answer.headers['x-correlation-id']).toMatch(uuid);
  });
});

describe('bodies', () => {
  // prettier-ignore
  it.each([
    ['text/plain',                        415],
    ['application/x-www-form-urlencoded', 415],
    ['application/json; charset=utf-16',  415],
    ['application/jsonp',                 415],
    ['',                                  415],
    ['application/json;charset=UTF-8',    201],
    ['Application/JSON',                  201],
  ])('content type %j: %i', async (type, status) => {
    expect((await post(type === '' ? {} : { 'content-type': type }, valid())).status).toBe(status);
  });

  it('415 for a compressed body', async () => {
    expect((await post({ ...json, 'content-encoding': 'gzip' }, valid())).status).toBe(415);
  });

  it.each(['{', '', 'nope', '{"name":"a"} x', Buffer.from('{"name":"\xff"}', 'latin1'), '['.repeat(60_000)])(
    '400 for the body %.20j',
    async (body) => {
      const answer = await post(json, body);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({
        code: expect.stringMatching(/^(invalid_request|validation_error)$/),
      });
    },
  );

  it('400 for a field of the prototype', async () => {
    const answer = await post(json, '{"name":"abc","__proto__":{"admin":true}}');
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
  });

  it('413 above 256 KiB, told ahead or not', async () => {
    const large = JSON.stringify({ name: 'a', display_name: 'x'.repeat(263_000) });
    expect((await post(json, large)).status).toBe(413);
    expect((await post({ ...json, 'transfer-encoding': 'chunked' }, large)).status).toBe(413);
  });

  it('400 for the longest text of the contract and one character more, however it is spelt', async () => {
    const key = `{"name":"a","public_key":"${String.raw`\ud83d\ude00`.repeat(16_385)}"}`;
    const answer = await post(json, key, '/api/v1/ssh-keys');
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    expect(JSON.stringify(answer.body)).toContain('body.public_key');
  });

  it('400 for a GET with a body and for a body where none belongs', async () => {
    const authorization = `Bearer ${await h.token('dev-user')}`;
    const get = await raw('GET', '/api/v1/projects', { authorization, ...json, 'content-length': '2' }, '{}');
    expect(get).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await post(json, '{}', '/api/v1/auth/personal/bootstrap')).status).toBe(400);
    expect((await post({}, undefined, '/api/v1/auth/personal/bootstrap')).status).toBe(200);
  });
});

describe('idempotency keys', () => {
  it.each([undefined, '', 'a b', 'ä', 'x'.repeat(256)])('400 for %j', async (key) => {
    const authorization = `Bearer ${await h.token('dev-user')}`;
    const header = key === undefined ? {} : { 'x-idempotency-key': Buffer.from(key).toString('latin1') };
    const answer = await raw('POST', '/api/v1/projects', { authorization, ...json, ...header }, valid());
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
  });

  it('201 for 255 visible characters', async () => {
    expect(
      (await post({ ...json, 'x-idempotency-key': `${randomUUID()}${'~'.repeat(219)}` }, valid())).status,
    ).toBe(201);
  });
});

describe('issues', () => {
  it('name the fields and never the values', async () => {
    const answer = await post(
      json,
      JSON.stringify({ name: 'SECRET VALUE', extra: 1, 'eyJhbGciOiJub25lIn0.x.y': 2 }),
    );
    const body = answer.body as { details: { issues: { path: string }[] } };
    expect(body.details.issues.map((issue) => issue.path).sort()).toEqual([
      'body.?',
      'body.extra',
      'body.name',
    ]);
    expect(JSON.stringify(body)).not.toMatch(/SECRET|eyJ/);
  });
});

describe('headers', () => {
  it('keep answers out of caches and tell nothing of the server', async () => {
    const answer = await h.request('GET', '/api/v1/projects', { as: 'dev-user' });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    for (const name of ['x-powered-by', 'etag', 'server']) expect(answer.headers.get(name)).toBeNull();
  });

  it('the documents load nothing from elsewhere', async () => {
    const page = await h.request('GET', '/docs');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain(
      "default-src 'none'; script-src 'self'; style-src 'self'",
    );
    const assets = [...String(page.body).matchAll(/(?:src|href)="([^"]+)"/g)].map((found) => found[1] ?? '');
    expect(assets.length).toBe(4);
    for (const asset of [...assets, '/docs/openapi.yaml']) {
      expect(asset).toMatch(/^\/docs\//);
      expect((await h.request('GET', asset)).status, asset).toBe(200);
    }
    expect(String(page.body)).not.toMatch(/<script>|<style|onload=/);
  });
});

/** Holds a lock on all of a table while something happens, so that nobody else can read it. */
const withLocked = (table: 'nodes' | 'users', work: () => Promise<void>): Promise<void> =>
  h.db.tx(async (tx) => {
    await tx.execute(sql.raw(`lock table ${table} in access exclusive mode`));
    await work();
  });

describe('a client that leaves before its request is complete', () => {
  /** Requests of an operation that were counted with a status. */
  const counted = async (operation: string, status: number): Promise<number> => {
    const { body } = await h.request('GET', '/metrics');
    const line = `http_request_duration_seconds_count{operation="${operation}",status="${status}"} `;
    const found = String(body)
      .split('\n')
      .find((one) => one.startsWith(line));
    return found === undefined ? 0 : Number(found.slice(line.length));
  };
  const createProjects = endpoints.find((one) => one.path === '/api/v1/projects' && one.method === 'post');
  const operation = createProjects?.id ?? '';

  /** Sends the half of a body. */
  const sendHalf = (token: string, correlation: string) => {
    const socket = connect(Number(new URL(h.api.publicUrl).port), '127.0.0.1');
    socket.on('error', () => undefined);
    const head = [
      'POST /api/v1/projects HTTP/1.1',
      'host: localhost',
      `authorization: Bearer ${token}`,
      'content-type: application/json',
      `x-idempotency-key: ${correlation}`,
      `x-correlation-id: ${correlation}`,
      'content-length: 100',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n{"name":`);
    return socket;
  };
  const statusesOf = (correlation: string): unknown[] =>
    h.log
      .filter((line) => line.includes(`"correlation_id":"${correlation}"`))
      .map((line) => (JSON.parse(line) as { status?: number }).status);

  it('counts as 499, in the metric and in the log', async () => {
    const [before, correlation] = [await counted(operation, 499), randomUUID()];
    const statuses = () => statusesOf(correlation);
    const known = await h.token('dev-user');
    expect((await h.request('GET', '/api/v1/projects', { token: known })).status).toBe(200);
    const socket = sendHalf(known, correlation);
    await new Promise((resolve) => socket.write(' ', resolve));
    socket.destroy();
    await vi.waitFor(() => expect(statuses()).toEqual([499]), { timeout: 30_000, interval: 20 });
    expect(await counted(operation, 499)).toBe(before + 1);
  });

  it('also while it is being authenticated: nobody waits for its body', async () => {
    const [before, correlation] = [await counted(operation, 499), randomUUID()];
    const token = await h.forge({ sub: randomUUID() });
    await withLocked('users', async () => {
      const socket = sendHalf(token, correlation);
      await vi.waitFor(async () => expect(await waiting()).toBeGreaterThan(0), {
        timeout: 30_000,
        interval: 20,
      });
      socket.resetAndDestroy();
      await new Promise((resolve) => socket.once('close', resolve));
      // What came later than the end has been seen.
      expect((await h.request('GET', '/healthz')).status).toBe(200);
    });
    await vi.waitFor(() => expect(statusesOf(correlation)).toEqual([499]), { timeout: 30_000, interval: 20 });
    expect(await counted(operation, 499)).toBe(before + 1);
  });
});

/** Statements that wait for a lock. */
async function waiting(): Promise<number> {
  const { rows } = await h.db.q.execute<{ count: number }>(
    sql`select count(*)::int as count from pg_locks where not granted`,
  );
  return rows[0]?.count ?? 0;
}

describe('the secret of a node from an address that has used up its budget', () => {
  const setLimit = async (value: number): Promise<void> => {
    const at = '/api/v1/admin/policies/rate_limit.api_requests_per_minute';
    const token = await h.forge({ sub: randomUUID(), realm_access: { roles: ['admin'] } });
    expect((await h.request('PUT', at, { token, body: { value } })).status).toBe(200);
  };
  const poll = async (id: string, token: string): Promise<number> =>
    (await h.internal('GET', `/internal/v1/nodes/${id}/tasks/wait?hold_seconds=0`, { token })).status;
  async function registered(): Promise<{ readonly id: string; readonly secret: string }> {
    const { rows } = await h.db.q.execute<{ code: string }>(sql`select code from skus limit 1`);
    const name = `limited-${randomUUID()}`;
    const made = await h.request('POST', '/api/v1/admin/nodes', {
      as: 'dev-admin',
      body: { name, sku: rows[0]?.code, ssh_host: '127.0.0.1', ssh_port: 22 },
    });
    expect(made.status).toBe(201);
    return { id: String(field(made, 'id')), secret: String(field(made, 'agent_secret')) };
  }

  it('costs no read when it was never good; one that was goes on', async () => {
    const [known, stranger] = [await registered(), await registered()];
    expect(await poll(known.id, known.secret)).toBe(200);
    await setLimit(1);
    try {
      const statuses: number[] = [];
      while (statuses.length < 40 && statuses.at(-1) !== 429) statuses.push(await poll(known.id, 'wrong'));
      expect(statuses.at(-1)).toBe(429);
      // None when other cases have used it up already.
      expect(statuses.slice(0, -1).filter((status) => status !== 401)).toEqual([]);
      // Whoever reads the table waits until its statement is given up.
      await withLocked('nodes', async () => {
        expect(await poll(known.id, 'wrong')).toBe(429);
        expect(await poll(stranger.id, stranger.secret)).toBe(429);
      });
      // Later than a hash is remembered for, within the minute of the budget.
      const real = performance.now.bind(performance);
      const later = vi.spyOn(performance, 'now').mockImplementation(() => real() + 6000);
      expect(await poll(known.id, known.secret)).toBe(200);
      later.mockRestore();
    } finally {
      await setLimit(120);
    }
    expect(await poll(stranger.id, stranger.secret)).toBe(200);
  });
});
