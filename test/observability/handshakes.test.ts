/** Handshakes of sockets, as a collector and the log see them: one span and one line each, and no secret in either. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startTracing, type Tracing } from '../../activities/platform/tracing.ts';
import { notificationPath, notificationProtocol } from '../../contracts/ops/notification.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { dialSocket, openSocket, type ConnectOptions } from '../harness/sockets.ts';
import { startNotices, type Notices, type Person } from '../notifications/fixture.ts';
import { startCollector, type Collector, type Span } from './collector.ts';
import { newRoot, type Root } from './tenant.ts';

let collector: Collector;
let tracing: Tracing;
let n: Notices;
let person: Person;
/** A usual replica, and one that has no room. */
let url: string;
let fullUrl: string;

beforeAll(async () => {
  collector = await startCollector();
  tracing = await startTracing({
    process: 'api',
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  });
  n = await startNotices({
    policies: { 'notification.max_connections_per_user': 1 },
    replicas: [{ origins: ['https://app.example.org'] }, { socketsMax: 0 }],
  });
  [url = '', fullUrl = ''] = n.replicas.map(({ publicUrl }) => publicUrl);
  person = await n.person();
}, startTimeoutMs);
afterAll(async () => {
  await n?.stop();
  await tracing?.stop();
  await collector?.stop();
}, startTimeoutMs);

const traced = ({ traceId, spanId, correlationId }: Root) => ({
  traceparent: `00-${traceId}-${spanId}-01`,
  'x-correlation-id': correlationId,
});

const spansOf = (correlationId: string): Span[] =>
  collector.spans.filter(({ attributes }) => attributes['gpuaas.correlation_id'] === correlationId);

/** The one span of a handshake, once it has come. */
async function spanOf(correlationId: string): Promise<Span> {
  await until('the span of the handshake', () => spansOf(correlationId).length > 0, { withinMs: 50_000 });
  const [span, ...more] = spansOf(correlationId);
  expect(more).toEqual([]);
  if (span === undefined) throw new Error('no span');
  return span;
}

const linesOf = (correlationId: string) =>
  n.h.log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['correlation_id'] === correlationId && line['message'] === 'request');

/** What every handshake has in common, as span and as line. */
const expected = (root: Root, status: number, code?: string) => ({
  span: {
    service: 'api',
    traceId: root.traceId,
    parentSpanId: root.spanId,
    name: `GET ${notificationPath}`,
    isError: status >= 500,
    attributes: {
      'http.request.method': 'GET',
      'http.route': notificationPath,
      'http.response.status_code': status,
      'gpuaas.listener': 'public',
      'gpuaas.operation': 'serverUserNotification',
      'gpuaas.correlation_id': root.correlationId,
      ...(code === undefined ? {} : { 'gpuaas.error_code': code }),
    },
  },
  line: {
    correlation_id: root.correlationId,
    trace_id: root.traceId,
    operation: 'serverUserNotification',
    method: 'GET',
    status,
    ...(code === undefined ? {} : { code }),
  },
});

/** Span and line are there, and hold exactly what they should. */
async function expectTraced(root: Root, status: number, code?: string): Promise<void> {
  const { span, line } = expected(root, status, code);
  const found = await spanOf(root.correlationId);
  expect(found).toMatchObject(span);
  expect(found.attributes).toEqual(span.attributes);
  expect(linesOf(root.correlationId)).toMatchObject([{ ...line, span_id: found.spanId }]);
}

describe('an accepted handshake', () => {
  it('has a span below its caller, which ends while the socket goes on', async () => {
    const root = newRoot();
    const one = await openSocket(url, { token: (await n.person()).token, headers: traced(root) });
    await expectTraced(root, 101);
    expect(one.ws.readyState).toBe(WebSocket.OPEN);
    await one.close();
    expect(spansOf(root.correlationId)).toHaveLength(1);
  });

  it('names its user in the log only', async () => {
    const root = newRoot();
    const somebody = await n.person();
    const one = await openSocket(url, { token: somebody.token, headers: traced(root) });
    await spanOf(root.correlationId);
    expect(linesOf(root.correlationId)).toMatchObject([{ user_id: somebody.id }]);
    expect(collector.bodies.join('\n')).not.toContain(somebody.id);
    await one.close();
  });
});

type Refusal = readonly [
  what: string,
  options: () => ConnectOptions | Promise<ConnectOptions>,
  status: number,
  code: string,
];
// prettier-ignore
const refusals: readonly Refusal[] = [
  ['no token',              () => ({}),                                                       401, 'token_missing'],
  ['a bad token',           () => ({ token: `${person.token.slice(0, -4)}AAAA` }),            401, 'token_invalid'],
  ['an expired token',      async () => ({ token: await n.h.forge({ exp: 1_700_000_000 }) }), 401, 'token_expired'],
  ['a token in the query',  () => ({ query: `?access_token=${person.token}` }),               400, 'validation_error'],
  ['a strange origin',      () => ({ headers: { origin: 'https://evil.example' } }),          403, 'insufficient_permissions'],
  ['an id of nobody',       () => ({ token: person.token, query: `?after=${randomUUID()}` }), 404, 'notification_not_found'],
];

describe('a refused handshake', () => {
  it.each(refusals)('is recorded with its code: %s', async (_, options, status, code) => {
    const root = newRoot();
    const wanted = await options();
    const one = await openSocket(url, { ...wanted, headers: { ...wanted.headers, ...traced(root) } });
    expect(await one.closed).toEqual({ code: 4000 + status, reason: code });
    await expectTraced(root, status, code);
  });

  it('is recorded with its code: the quota is used up', async () => {
    const somebody = await n.person();
    const first = await n.open(somebody);
    const root = newRoot();
    const second = await openSocket(url, { token: somebody.token, headers: traced(root) });
    expect(await second.closed).toEqual({ code: 4429, reason: 'rate_limit_exceeded' });
    await expectTraced(root, 429, 'rate_limit_exceeded');
    expect(linesOf(root.correlationId)).toMatchObject([{ user_id: somebody.id }]);
    await first.close();
  });

  it('is an error when it is our fault: no room', async () => {
    const root = newRoot();
    const one = dialSocket(fullUrl, { token: person.token, headers: traced(root) });
    await one.closed;
    await expectTraced(root, 503, 'service_unavailable');
  });

  it('has the correlation id of its answer: no WebSocket', async () => {
    const root = newRoot();
    const asked = request(`${url}${notificationPath}`, {
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        ...traced(root),
      },
    });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.resume();
    expect([answer.statusCode, answer.headers['x-correlation-id']]).toEqual([400, root.correlationId]);
    await expectTraced(root, 400, 'invalid_request');
  });
});

/** Sends a request that wishes for another protocol, as curl --http2 and Java do. @returns status and body. */
async function wishing(method: string, path: string, headers: Record<string, string>, body = '') {
  const sent = request(`${url}${path}`, {
    method,
    headers: {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
      authorization: `Bearer ${person.token}`,
      ...headers,
    },
    agent: false,
  });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return { status: answer.statusCode, body: Buffer.concat(chunks).toString('utf8') };
}

describe('a wish that is overlooked', () => {
  const described = (root: Root, method: string, status: number, operation: string, path?: string) => ({
    span: {
      traceId: root.traceId,
      parentSpanId: root.spanId,
      name: path === undefined ? method : `${method} ${path}`,
      attributes: {
        'http.request.method': method,
        'http.response.status_code': status,
        'gpuaas.operation': operation,
        'gpuaas.correlation_id': root.correlationId,
      },
    },
    line: { correlation_id: root.correlationId, trace_id: root.traceId, operation, method, status },
  });

  it('leaves the request its span and line', async () => {
    const root = newRoot();
    expect((await wishing('GET', '/api/v1/projects', traced(root))).status).toBe(200);
    const { span, line } = described(root, 'GET', 200, 'listProjects', '/api/v1/projects');
    expect(await spanOf(root.correlationId)).toMatchObject(span);
    expect(linesOf(root.correlationId)).toMatchObject([line]);
  });

  it.each(['content-length', 'transfer-encoding'])('leaves it its body, by %s', async (framing) => {
    const root = newRoot();
    const text = JSON.stringify({ name: `p-${randomUUID()}` });
    const headers = {
      'content-type': 'application/json',
      'x-idempotency-key': randomUUID(),
      [framing]: framing === 'content-length' ? String(text.length) : 'chunked',
      ...traced(root),
    };
    const answer = await wishing('POST', '/api/v1/projects', headers, text);
    expect(answer).toMatchObject({ status: 201, body: expect.stringContaining(text.slice(1, -1)) });
    const { span, line } = described(root, 'POST', 201, 'createProject', '/api/v1/projects');
    expect(await spanOf(root.correlationId)).toMatchObject(span);
    expect(linesOf(root.correlationId)).toMatchObject([line]);
  });

  it('is one for a socket where there are none', async () => {
    const root = newRoot();
    expect((await wishing('GET', '/ws/other', { ...traced(root), upgrade: 'websocket' })).status).toBe(404);
    const { span, line } = described(root, 'GET', 404, 'none');
    expect(await spanOf(root.correlationId)).toMatchObject(span);
    expect(linesOf(root.correlationId)).toMatchObject([line]);
  });
});

describe('a caller whose traceparent is none', () => {
  it.each([
    'rubbish',
    '00-0-0-01',
    `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
    `00-${'1'.repeat(32)}-${'0'.repeat(16)}-01`,
    `ff-${'1'.repeat(32)}-${'1'.repeat(16)}-01`,
    `00-${'1'.repeat(32)}-${'1'.repeat(16)}-01-more`,
  ])('gets a trace of its own: %s', async (traceparent) => {
    const correlationId = randomUUID();
    const headers = { traceparent, 'x-correlation-id': correlationId };
    const one = await openSocket(url, { token: (await n.person()).token, headers });
    const span = await spanOf(correlationId);
    expect(span).toMatchObject({ parentSpanId: undefined, name: `GET ${notificationPath}` });
    expect(traceparent).not.toContain(span.traceId);
    await one.close();
  });
});

describe('whatever a client sends as its secret', () => {
  const secrets = fc.stringMatching(/^[A-Za-z0-9_-]{16,60}$/);
  const ways: readonly ((secret: string) => ConnectOptions)[] = [
    (secret) => ({ token: secret }),
    (secret) => ({ headers: { authorization: `Basic ${secret}` } }),
    (secret) => ({ protocols: [notificationProtocol, secret] }),
    (secret) => ({ protocols: [secret], token: secret }),
    (secret) => ({ query: `?access_token=${secret}` }),
    (secret) => ({ query: `?after=${secret}&token=${secret}` }),
    (secret) => ({ token: secret, headers: { traceparent: secret, origin: `https://${secret}.example` } }),
  ];

  it('is in no span and no line of the log', async () => {
    const sent: { readonly secret: string; readonly correlationId: string }[] = [];
    const property = fc.asyncProperty(secrets, fc.constantFrom(...ways), async (secret, way) => {
      const correlationId = randomUUID();
      const wanted = way(secret);
      const headers = { ...wanted.headers, 'x-correlation-id': correlationId };
      const one = await openSocket(url, { ...wanted, headers });
      expect((await one.closed).code).toBeGreaterThanOrEqual(4400);
      sent.push({ secret, correlationId });
    });
    await fc.assert(property, { numRuns: 60 });
    for (const { correlationId } of sent) {
      await spanOf(correlationId);
      expect(linesOf(correlationId)).toHaveLength(1);
    }
    expect(sent.length).toBeGreaterThanOrEqual(60);
    const text = [...collector.bodies, ...n.h.log].join('\n');
    for (const { secret } of [...sent, { secret: person.token }]) expect(text.includes(secret)).toBe(false);
    expect(text).not.toMatch(/bearer|access_token/i);
  });
});
