/** What every request meets before its handler: methods, media types, sizes and parameters, as the document tells it. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorAnswers } from '../../contracts/codegen/error-answers.ts';
import { endpoints } from '../../contracts/endpoints.api.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { field, startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';

let h: ApiHarness;
let node: { readonly id: string; readonly secret: string };
beforeAll(async () => {
  h = await startApiHarness();
  const { rows } = await h.db.q.execute<{ code: string }>(sql`select code from skus limit 1`);
  const body = { name: 'answers', sku: rows[0]?.code, ssh_host: '127.0.0.1' };
  const made = await h.request('POST', '/api/v1/admin/nodes', { as: 'dev-admin', body });
  node = { id: String(field(made, 'id')), secret: String(field(made, 'agent_secret')) };
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const listeners = ['public', 'internal'] as const;
type Listener = (typeof listeners)[number];

function open(listener: Listener): Socket {
  const { hostname: host, port } = new URL(listener === 'public' ? h.api.publicUrl : h.api.internalUrl);
  if (listener === 'public') return connect(Number(port), host);
  return connectTls({ host, port: Number(port), ca: readFileSync(h.caFile) });
}

/** Everything that a connection answers to these bytes until the server ends it. */
function bytes(listener: Listener, ...packets: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = open(listener);
    socket.setNoDelay(true);
    let text = '';
    const sendFrom = (index: number): void => {
      const packet = packets[index];
      if (packet !== undefined) socket.write(packet, () => setImmediate(sendFrom, index + 1));
    };
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
    sendFrom(0);
  });
}

const host = 'HTTP/1.1\r\nHost: x\r\n\r\n';
const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

describe.each(listeners)('the %s listener', (listener) => {
  it.each([
    ['a word that is none', `FOO / ${host}`],
    ['one that begins like another', `GETX /healthz ${host}`],
    ['one in small letters', `get /healthz ${host}`],
    ['one of another protocol', `SETUP / ${host}`],
    ['a tunnel', `CONNECT example.org:443 ${host}`],
    ['a tunnel with what should go through', `CONNECT example.org:443 ${host}SSH-2.0-x\r\n`],
  ])('405 for an unknown method: %s', async (_, text) => {
    const answer = await bytes(listener, text);
    expect(statusesOf(answer)).toEqual([405]);
    expect(answer).toMatch(/\r\nAllow: GET, POST, PUT, PATCH, DELETE\r\n/);
    expect(answer).toMatch(/\r\nConnection: close\r\n/);
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toEqual({
      code: 'invalid_request',
      message: 'There is no such method.',
      correlation_id: expect.any(String),
    });
  });

  it('405 for a method that arrives in pieces', async () => {
    expect(statusesOf(await bytes(listener, 'FO'))).toEqual([405]);
    expect(statusesOf(await bytes(listener, 'PO', `X / ${host}`))).toEqual([405]);
  });

  it('answers what came before a tunnel first', async () => {
    const before = `GET /nowhere ${host}`;
    expect(statusesOf(await bytes(listener, `${before}CONNECT a:1 ${host}`))).toEqual([404, 405]);
  });

  it.each(['HELLO\r\n\r\n', '\u0016\u0003\u0001\u0002\r\n', 'FOO / FTP/1.0\r\n\r\n', `GET / a ${host}`])(
    '400 for what is no HTTP: %j',
    async (text) => {
      expect(statusesOf(await bytes(listener, text))).toEqual([400]);
    },
  );

  const mutations = (endpoints as readonly Endpoint[]).filter(
    (one) => one.listener === listener && one.method !== 'get',
  );
  it.each(mutations.map((one) => [one.id, one] as const))(
    '415 and 413 of %s, as the document says',
    async (_, one) => {
      const token = listener === 'internal' ? node.secret : await h.token('dev-admin');
      const path = one.path.replace('{node_id}', node.id).replace(/\{\w+\}/g, randomUUID());
      const head = `${one.method.toUpperCase()} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
      const plain = `${head}Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx`;
      const large = `${head}Content-Type: application/json\r\nContent-Length: 2000000\r\n\r\n`;
      for (const [text, status] of [
        [plain, 415],
        [large, 413],
      ] as const) {
        expect(statusesOf(await bytes(listener, text))).toEqual([status]);
        expect(errorAnswers(one).map((answer) => answer.status)).toContain(status);
      }
    },
  );
});

describe('numbers of a query', () => {
  const spellings = ['0x10', '1e1', '%205%20', '%2B5', '5.0', '', '0b1', '-0', 'Infinity', '%D9%A5'];

  it.each(spellings)('400 for limit=%s', async (text) => {
    const answer = await h.request('GET', `/api/v1/projects?limit=${text}`, { as: 'dev-user' });
    expect(answer).toMatchObject({
      status: 400,
      body: { code: 'validation_error', details: { issues: [{ path: 'query.limit' }] } },
    });
  });

  it.each(spellings)('400 for hold_seconds=%s', async (text) => {
    const at = `/internal/v1/nodes/${node.id}/tasks/wait?hold_seconds=${text}`;
    expect((await h.internal('GET', at, { token: node.secret })).status).toBe(400);
  });

  it.each(['1', '200', '007'])('200 for limit=%s', async (text) => {
    expect((await h.request('GET', `/api/v1/projects?limit=${text}`, { as: 'dev-user' })).status).toBe(200);
  });
});

describe('parameters of a path that takes none', () => {
  it.each(['/metrics', '/docs', '/docs/openapi.yaml', '/docs/init.js'])('%s: 400', async (path) => {
    expect(await h.request('GET', `${path}?x=1`)).toMatchObject({
      status: 400,
      body: {
        code: 'validation_error',
        details: { issues: [{ path: 'query.x', code: 'unrecognized_keys' }] },
      },
    });
    expect((await h.request('GET', `${path}?`)).status).toBe(200);
  });
});
