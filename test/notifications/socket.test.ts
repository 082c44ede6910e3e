/** The handshake of `/ws/notifications`: every way to bring a token, every refusal, and what a frame holds. */
import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { objectAt, toJson, type Json } from '../../contracts/codegen/json.ts';
import { userNotificationPayload } from '../../contracts/ops/notification.events.ts';
import {
  notificationCloses as closes,
  notificationPath,
  notificationProtocol as protocol,
  notificationSeverities,
  notificationTypes,
} from '../../contracts/ops/notification.ts';
import { mutationsOf, validValues } from '../contracts/messages.ts';
import { source } from '../contracts/source.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { dialSocket, openSocket, type ConnectOptions } from '../harness/sockets.ts';
import { startNotices, type Notices, type Person } from './fixture.ts';

let n: Notices;
let url: string;
let person: Person;
beforeAll(async () => {
  n = await startNotices({
    policies: { 'notification.max_connections_per_user': 100 },
    replicas: [{ origins: ['https://app.example.org'], socketsMax: 40 }],
  });
  url = n.replicas[0]?.publicUrl ?? '';
  person = await n.person();
}, startTimeoutMs);
afterAll(() => n?.stop(), startTimeoutMs);

type Case = readonly [
  what: string,
  options: () => ConnectOptions | Promise<ConnectOptions>,
  result: number | string,
];

const accepted: readonly Case[] = [
  ['Authorization', () => ({ token: person.token }), ''],
  ['a protocol beside ours', () => ({ protocols: [protocol, person.token] }), protocol],
  ['a protocol before ours', () => ({ protocols: [person.token, protocol] }), protocol],
  ['a protocol alone', () => ({ protocols: [person.token] }), 'the token'],
  ['Authorization beside our protocol', () => ({ token: person.token, protocols: [protocol] }), protocol],
  [
    'a page of an origin that may',
    () => ({ protocols: [protocol, person.token], headers: { origin: 'https://app.example.org' } }),
    protocol,
  ],
];

const refused: readonly Case[] = [
  ['nothing', () => ({}), closes.unauthenticated],
  ['our protocol without a token', () => ({ protocols: [protocol] }), closes.unauthenticated],
  ['no token at all', () => ({ protocols: [protocol, 'nonsense'] }), closes.unauthenticated],
  ['another scheme', () => ({ headers: { authorization: 'Basic eDp5' } }), closes.unauthenticated],
  ['a changed signature', () => ({ token: `${person.token.slice(0, -4)}AAAA` }), closes.unauthenticated],
  [
    'an expired token',
    async () => ({ token: await n.h.forge({ exp: 1_700_000_000 }) }),
    closes.unauthenticated,
  ],
  [
    'the token of another issuer',
    async () => ({ token: await n.h.forge({ iss: 'https://x.example' }) }),
    closes.unauthenticated,
  ],
  [
    'no role of ours',
    async () => ({ token: await n.h.forge({ realm_access: { roles: ['x'] } }) }),
    closes.forbidden,
  ],
  [
    'another organisation than the user has',
    async () => ({ token: await n.h.forge({ sub: person.id, org_id: randomUUID() }) }),
    closes.forbidden,
  ],
  ['two credentials', () => ({ token: person.token, protocols: [person.token] }), closes.badRequest],
  ['two protocols that are not ours', () => ({ protocols: [person.token, 'b'] }), closes.badRequest],
  ['the token in the query', () => ({ query: `?token=${person.token}` }), closes.badRequest],
  ['access_token in the query', () => ({ query: `?access_token=${person.token}` }), closes.badRequest],
  [
    'a good token and one in the query',
    () => ({ token: person.token, query: `?token=${person.token}` }),
    closes.badRequest,
  ],
  ['an unknown parameter', () => ({ token: person.token, query: '?since=1' }), closes.badRequest],
  ['an id that is none', () => ({ token: person.token, query: '?after=7' }), closes.badRequest],
  [
    'two ids',
    () => ({ token: person.token, query: `?after=${randomUUID()}&after=${randomUUID()}` }),
    closes.badRequest,
  ],
  ['an id of nobody', () => ({ token: person.token, query: `?after=${randomUUID()}` }), closes.notFound],
  [
    'an id of somebody else',
    async () => ({ token: person.token, query: `?after=${await n.tell(randomUUID())}` }),
    closes.notFound,
  ],
  [
    'a page of another site',
    () => ({ token: person.token, headers: { origin: 'https://evil.example' } }),
    closes.forbidden,
  ],
  ['a page of no site', () => ({ token: person.token, headers: { origin: 'null' } }), closes.forbidden],
];

describe('a handshake', () => {
  it.each(accepted)('is accepted with %s', async (_, options, chosen) => {
    const client = await n.open(person, await options());
    expect(client.ws.protocol).toBe(chosen === 'the token' ? person.token : chosen);
    const id = await n.tell(person.id);
    await client.untilFrames(1);
    expect(client.ids).toEqual([id]);
    await client.close();
  });

  it.each(refused)('is refused with %s', async (_, options, code) => {
    const client = await openSocket(url, await options());
    expect((await client.closed).code).toBe(code);
    expect(client.frames).toEqual([]);
  });

  it('names no token in any log line', () => {
    expect(n.h.log.length).toBeGreaterThan(20);
    expect(n.h.log.join('\n')).not.toContain(person.token.split('.')[2]);
  });

  it('tells why, by a code of the catalogue', async () => {
    const client = await openSocket(url, { query: `?after=${randomUUID()}`, token: person.token });
    expect((await client.closed).reason).toBe('notification_not_found');
  });
});

/** Status of an upgrade that did not become a socket. */
function rawStatus(
  headers: Record<string, string>,
  at = notificationPath,
  method = 'GET',
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${at}`, { method, headers, agent: false });
    sent.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    sent.on('upgrade', (_answer, socket) => {
      socket.destroy();
      resolve(101);
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('an upgrade', () => {
  const good = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
  };

  it.each([
    ['that is good', good, notificationPath, 'GET', 101],
    ['with a method', good, notificationPath, 'DELETE', 400],
    ['without a key', { ...good, 'sec-websocket-key': '' }, notificationPath, 'GET', 400],
    ['of another version', { ...good, 'sec-websocket-version': '7' }, notificationPath, 'GET', 400],
    [
      'with a protocol that is none',
      { ...good, 'sec-websocket-protocol': 'a b' },
      notificationPath,
      'GET',
      400,
    ],
    ['to an unknown path', good, '/ws/other', 'GET', 404],
    ['to a path that has none', good, '/healthz', 'GET', 200],
    [
      'to another protocol',
      { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c' },
      '/healthz',
      'GET',
      200,
    ],
    ['to none', {}, notificationPath, 'GET', 404],
  ] as const)('%s', async (_what, headers, at, method, status) => {
    expect(await rawStatus({ ...headers }, at, method)).toBe(status);
  });

  it('over the limit of the process gets 503', async () => {
    const open = Array.from({ length: 40 }, () => dialSocket(url, { token: person.token }));
    await until('40 sockets', async () => (await n.metric('gpuaas_notification_sockets')) === 40);
    expect(await rawStatus(good)).toBe(503);
    await Promise.all(open.map((one) => one.close()));
    await until('none', async () => (await n.metric('gpuaas_notification_sockets')) === 0);
  });
});

describe('a frame', () => {
  const digest = objectAt(objectAt(source, 'components'), 'UserNotificationPayload');
  const fits = (value: Json): boolean => userNotificationPayload.safeParse(value).success;

  it('is exactly the source’s UserNotification, for every severity and type', async () => {
    const client = await n.open(person);
    const wanted = notificationSeverities.flatMap((severity) =>
      notificationTypes.map((type) => ({ severity, type, actionUrl: `https://app.example.org/${type}` })),
    );
    for (const change of wanted) await n.tell(person.id, change);
    await client.untilFrames(wanted.length);
    const fields = Object.keys(objectAt(digest, 'fields')).toSorted();
    for (const [index, frame] of client.frames.entries()) {
      const value = JSON.parse(frame) as Record<string, unknown>;
      expect(Object.keys(value).toSorted()).toEqual(fields);
      expect(fits(toJson(value))).toBe(true);
      expect(value).toMatchObject({
        severity: wanted[index]?.severity,
        type: wanted[index]?.type,
        action_url: wanted[index]?.actionUrl,
      });
    }
    expect(client.binary).toBe(0);
    await client.close();
  });

  it('has a schema that takes what the source takes and nothing else', () => {
    const [valid, wrong] = [validValues(digest), mutationsOf(digest)];
    expect(valid.length).toBeGreaterThan(10);
    expect(wrong.length).toBeGreaterThan(30);
    expect(valid.filter(({ value }) => !fits(value)).map(({ why }) => why)).toEqual([]);
    expect(wrong.filter(({ value }) => fits(value)).map(({ why }) => why)).toEqual([]);
  });

  it('from a client closes its socket', async () => {
    for (const [data, code] of [
      ['hello', closes.policyViolation],
      [Buffer.alloc(10), closes.policyViolation],
      ['x'.repeat(5000), 1009],
    ] as const) {
      const client = await n.open(person);
      client.ws.send(data);
      expect((await client.closed).code).toBe(code);
    }
  });

  it('goes to its recipient only', async () => {
    const stranger = await n.person();
    const [mine, theirs] = [await n.open(person), await n.open(stranger)];
    const [a, b] = [await n.tell(person.id), await n.tell(stranger.id)];
    await Promise.all([mine.untilFrames(1), theirs.untilFrames(1)]);
    expect([mine.ids, theirs.ids]).toEqual([[a], [b]]);
    await Promise.all([mine.close(), theirs.close()]);
  });
});

describe('a socket', () => {
  it('ends when its token expires', async () => {
    const token = await n.h.forge({ sub: person.id, exp: Math.floor(Date.now() / 1000) + 2 });
    const client = await openSocket(url, { token });
    expect(await client.closed).toEqual({ code: closes.unauthenticated, reason: 'token_expired' });
  });
});
