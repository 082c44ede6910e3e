/** Clients that ask, get their answer, and then neither close nor listen: none of them holds anything for long. */
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import express from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import { openRedis } from '../../activities/platform/redis.ts';
import { acceptUpgrades, listen, type SocketRoute } from '../../api/server.ts';
import { notificationCloses as closes, notificationPath } from '../../contracts/ops/notification.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { openSocket, type ConnectOptions } from '../harness/sockets.ts';
import { startNotices, type Notices, type Person } from './fixture.ts';

let n: Notices;
let person: Person;
/** Replicas: the usual one, and some that a test uses up. */
const [usual, drained, spent] = [0, 1, 2];
const urlOf = (replica: number): string => n.replicas[replica]?.publicUrl ?? '';
beforeAll(async () => {
  const origins = ['https://app.example.org'];
  n = await startNotices({ replicas: [{ origins }, { origins }, { origins }] });
  person = await n.person();
}, startTimeoutMs);
afterAll(() => n?.stop(), startTimeoutMs);

/** A connection that writes down what it gets, and never ends by itself. */
interface Rude {
  readonly socket: Socket;
  readonly received: () => string;
  /** The server has sent its last byte. */
  readonly hasEnded: () => boolean;
}

const all: Socket[] = [];
afterEach(() => {
  for (const socket of all.splice(0)) socket.destroy();
});

function rude(url: string, text: string | Buffer): Rude {
  const { hostname: host, port } = new URL(url);
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  all.push(socket);
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('end', () => (ended = true));
  socket.write(text);
  return {
    socket,
    received: () => Buffer.concat(chunks).toString('latin1'),
    hasEnded: () => ended || socket.destroyed,
  };
}

const requestOf = (path: string, headers: Readonly<Record<string, string>> = {}): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`;

const keyless = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' };
const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABk' };
const keyed = (token?: string): Record<string, string> => ({
  ...keyless,
  'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
  ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
});

/** A text frame as clients send it, masked with zeros. */
function frame(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = bytes.length < 126 ? [0x80 | bytes.length] : [0xfe, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), bytes]);
}

/** The close frame with this code has come. */
const isTold = ({ received }: Rude, code: number): boolean =>
  received().includes(
    Buffer.from([code >> 8, code & 255]).toString('latin1'),
    received().indexOf('\r\n\r\n'),
  );

/** Waits until the server holds the connection no more: a write is answered with a reset. */
const untilReleased = ({ socket }: Rude): Promise<void> =>
  until('the server has let go', () => {
    if (!socket.destroyed) socket.write('x');
    return socket.destroyed;
  });

describe('a connection whose client never closes', () => {
  it.each([
    ['no key', requestOf(notificationPath, keyless)],
    ['no key, and bytes behind', `${requestOf(notificationPath, keyless)}${'x'.repeat(5000)}`],
    ['no HTTP', 'rubbish\r\n\r\n'],
  ])('is closed with its refusal: %s', async (_what, text) => {
    const client = rude(urlOf(usual), text);
    await until('the answer', () => client.received().includes('"code":"invalid_request"'));
    expect(client.received()).toMatch(/^HTTP\/1\.1 400 /);
    await untilReleased(client);
  });

  it('does not keep a replica from ending', async () => {
    const clients = [
      rude(urlOf(drained), requestOf(notificationPath, keyless)),
      rude(urlOf(drained), `${requestOf(notificationPath, keyless)}more`),
      rude(urlOf(drained), requestOf('/healthz', h2c)),
      rude(urlOf(drained), requestOf(notificationPath, keyed())),
      rude(urlOf(drained), requestOf(notificationPath, keyed(person.token))),
    ];
    await until('all have their answers', () => clients.every((one) => one.received() !== ''));
    await n.replicas[drained]?.stop();
    await until('all are cut', () => clients.every((one) => one.hasEnded()));
  });

  it('is cut at the deadline of a drain when it was taken over', async () => {
    const app = express();
    const server = createServer(app);
    let taken = 0;
    const route: SocketRoute = {
      operation: 'held',
      upgrade: () => {
        taken += 1;
        return new Promise(() => undefined);
      },
    };
    const log = createLogger({ process: 'drain', level: 'silent' }, { write: () => undefined });
    acceptUpgrades(server, 'public', new Map([['/held', route]]), log);
    const listening = await listen(server, { express: app, release: () => undefined }, '127.0.0.1', 0);
    const client = rude(`http://127.0.0.1:${listening.port}`, requestOf('/held', keyed()));
    await until('it is taken', () => taken === 1);
    await listening.drain(50);
    await until('it is cut', () => client.hasEnded());
  });
});

describe('a wish behind a request that is not answered yet', () => {
  it.each([
    ['for another protocol', requestOf('/api/v1/projects', h2c), 'HTTP/1.1 401'],
    ['for a socket', requestOf(notificationPath, keyed()), 'HTTP/1.1 101'],
    ['that is refused', requestOf(notificationPath, keyless), 'HTTP/1.1 400'],
  ])('is answered after it: %s', async (_what, wish, answer) => {
    const client = rude(urlOf(usual), `${requestOf('/readyz')}${wish}`);
    await until('both answers', () => client.received().includes(answer), { state: client.received });
    const heads = client.received().match(/HTTP\/1\.1 \d+/g);
    expect(heads).toHaveLength(2);
    expect(heads?.at(-1)).toBe(answer);
  });
});

describe('a socket that is being closed', () => {
  it('costs nothing more, however much its client still sends', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
    const before = timers();
    // The last one is too large, which ends the connection: all before it were seen by then.
    const flood = [...Array.from({ length: 2000 }, () => frame('hello')), frame('x'.repeat(2000))];
    const client = rude(urlOf(usual), requestOf(notificationPath, keyed(person.token)));
    await until('it is open', () => client.received().startsWith('HTTP/1.1 101'));
    client.socket.write(Buffer.concat(flood));
    await until('all was seen', () => client.hasEnded());
    expect(isTold(client, closes.policyViolation)).toBe(true);
    expect(timers() - before).toBeLessThan(200);
  });

  it('loses its place at once when it was refused, and its client is told why', async () => {
    // Both ignore their close; the one that was let in began earlier, and yet is the later to go.
    await until('the refused one goes first', async () => {
      const admitted = rude(urlOf(usual), requestOf(notificationPath, keyed(person.token)));
      await until('it is open', () => admitted.received().startsWith('HTTP/1.1 101'));
      admitted.socket.write(frame('hello'));
      await until('its close', () => isTold(admitted, closes.policyViolation));
      const refused = rude(urlOf(usual), requestOf(notificationPath, keyed()));
      await until('one has gone', () => refused.hasEnded() || admitted.hasEnded());
      await until('the refused one has gone', () => refused.hasEnded());
      expect(isTold(refused, closes.unauthenticated)).toBe(true);
      return !admitted.hasEnded();
    });
  });
});

describe('attempts without a caller', () => {
  const key = 'rate:address:127.0.0.1';
  let redis: ReturnType<typeof openRedis>;
  beforeAll(async () => {
    redis = openRedis(n.h.config.redisUrl, 'rude clients');
    await until('Redis', () => redis.status === 'ready');
  });
  afterAll(() => redis?.disconnect());

  const refusals: readonly [string, () => ConnectOptions | Promise<ConnectOptions>, number][] = [
    ['no token', () => ({}), closes.unauthenticated],
    ['a strange origin', () => ({ headers: { origin: 'https://evil.example' } }), closes.forbidden],
    ['a wrong parameter', () => ({ token: person.token, query: '?since=1' }), closes.badRequest],
    ['two credentials', () => ({ token: person.token, protocols: [person.token] }), closes.badRequest],
    [
      'another organisation than the user has',
      async () => ({ token: await n.h.forge({ sub: person.id, org_id: crypto.randomUUID() }) }),
      closes.forbidden,
    ],
  ];

  it.each(refusals)('are counted by address: %s', async (_what, options, code) => {
    await redis.del(key);
    let attempts = 0;
    // More than one only when Redis was too slow to be asked.
    await until('one is counted', async () => {
      const client = await openSocket(urlOf(usual), await options());
      expect((await client.closed).code).toBe(code);
      attempts += 1;
      return Number(await redis.get(key)) > 0;
    });
    expect(Number(await redis.get(key))).toBeLessThanOrEqual(attempts);
  });

  it('are counted by address: no WebSocket', async () => {
    await redis.del(key);
    await until('one is counted', async () => {
      const client = rude(urlOf(usual), requestOf(notificationPath, keyless));
      await until('its answer', () => client.hasEnded());
      return Number(await redis.get(key)) > 0;
    });
  });

  it('with a caller are not', async () => {
    await redis.del(key);
    await (await n.open(person)).close();
    expect(await redis.get(key)).toBeNull();
  });

  it('are refused unseen from an address that used up its budget', async () => {
    const budget = '10000000';
    await redis.set(key, budget, 'PX', 60_000);
    const tooMany = { code: closes.tooMany, reason: 'rate_limit_exceeded' };
    await until('the budget is used up', async () => {
      const last = await openSocket(urlOf(spent), { headers: { origin: 'https://evil.example' } });
      return (await last.closed).code === closes.tooMany;
    });
    const counted = await redis.get(key);
    for (const options of [{}, { token: person.token }]) {
      const client = await openSocket(urlOf(spent), options);
      expect(await client.closed).toEqual(tooMany);
    }
    expect(counted).toBe('10000001');
    expect(await redis.get(key)).toBe(counted);
    await redis.del(key);
  });
});
