/** How often the API asks its issuer for keys, and what it answers meanwhile: counted at the issuer. */
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import { startApi, type RunningApi } from '../../api/compose.ts';
import { reserveFreePort, type ReservedPort } from '../../workers/local/ports.ts';
import { goodClaims, startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';

const cacheMs = 5 * 60_000;
const cooldownMs = 30_000;

interface IssuerKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly published: JWK;
}

async function newKey(use: 'sig' | 'enc' = 'sig'): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
  const kid = randomUUID();
  const alg = use === 'sig' ? 'RS256' : 'RSA-OAEP';
  return { kid, privateKey, published: { ...(await exportJWK(publicKey)), kid, use, alg } };
}

/** An issuer that publishes what a test tells it, counts who asks, and can go away and come back. */
class CountingIssuer {
  readonly url: string;
  fetches = 0;
  published: readonly IssuerKey[] = [];
  readonly #port: ReservedPort;
  #server: Server | undefined;

  constructor(port: ReservedPort) {
    this.#port = port;
    this.url = `http://127.0.0.1:${port.port}/realms/gpuaas`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const known = request.url === '/realms/gpuaas/protocol/openid-connect/certs';
      if (known) this.fetches += 1;
      response.writeHead(known ? 200 : 404, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify({ keys: this.published.map((key) => key.published) }));
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port.port, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  }

  /** A good token of a new user. */
  token(key: IssuerKey, kid: string = key.kid): Promise<string> {
    return new SignJWT(goodClaims(this.url)).setProtectedHeader({ alg: 'RS256', kid }).sign(key.privateKey);
  }
}

let h: ApiHarness;
let port: ReservedPort;
let issuer: CountingIssuer;
let api: RunningApi | undefined;
let log: string[];
let passedMs: number;

beforeAll(async () => {
  [h, port] = await Promise.all([startApiHarness(), reserveFreePort('counting issuer')]);
}, startTimeoutMs);
afterAll(async () => {
  port?.release();
  await h?.stop();
}, startTimeoutMs);
beforeEach(() => {
  issuer = new CountingIssuer(port);
  [log, passedMs] = [[], 0];
  // Only what a test lets pass counts, however slow the machine is.
  const start = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => start + passedMs);
});
afterEach(async () => {
  await api?.stop();
  api = undefined;
  await issuer.stop();
  vi.restoreAllMocks();
});

/** Lets time pass without waiting for it. */
const pass = (ms: number): void => void (passedMs += ms);
const soon = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 10 });

/** An API that trusts the counting issuer, after its own first look at the keys. */
async function startTrusting(): Promise<void> {
  const sink = { write: (line: string): void => void log.push(line) };
  api = await startApi(
    { ...h.config, issuerUrl: issuer.url },
    createLogger({ process: 'api', level: 'debug' }, sink),
  );
}

async function startWithKeys(...keys: IssuerKey[]): Promise<void> {
  issuer.published = keys;
  await issuer.start();
  await startTrusting();
  await soon(() => expect(issuer.fetches).toBe(1));
}

/** Status and code of a call with a token. */
async function ask(token: string): Promise<readonly [number, unknown]> {
  const url = `${api?.publicUrl ?? ''}/api/v1/auth/personal`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  return [answer.status, ((await answer.json()) as { code?: unknown }).code];
}
const good = [200, undefined] as const;
const bad = [401, 'token_invalid'] as const;

describe('keys of the issuer', () => {
  it('are fetched once in five minutes, then again beside the request', async () => {
    const key = await newKey();
    await startWithKeys(key);
    for (let n = 0; n < 5; n += 1) expect(await ask(await issuer.token(key))).toEqual(good);
    pass(cacheMs - 10_000);
    expect(await ask(await issuer.token(key))).toEqual(good);
    expect(issuer.fetches).toBe(1);
    pass(20_000);
    const many = await Promise.all(Array.from({ length: 8 }, () => issuer.token(key)));
    expect(await Promise.all(many.map(ask))).toEqual(many.map(() => good));
    await soon(() => expect(issuer.fetches).toBe(2));
    expect(await ask(await issuer.token(key))).toEqual(good);
    expect(issuer.fetches).toBe(2);
  });

  it('are fetched once for unknown keys, however many come, and not again for thirty seconds', async () => {
    const [key, stranger] = [await newKey(), await newKey()];
    await startWithKeys(key);
    expect(await ask(await issuer.token(stranger))).toEqual(bad);
    expect(issuer.fetches).toBe(1);
    pass(cooldownMs + 1000);
    const strangers = await Promise.all(
      Array.from({ length: 8 }, () => issuer.token(stranger, randomUUID())),
    );
    expect(await Promise.all(strangers.map(ask))).toEqual(strangers.map(() => bad));
    expect(issuer.fetches).toBe(2);
    pass(cooldownMs - 5000);
    expect(await ask(await issuer.token(stranger))).toEqual(bad);
    expect(issuer.fetches).toBe(2);
    pass(6000);
    expect(await ask(await issuer.token(stranger))).toEqual(bad);
    expect(issuer.fetches).toBe(3);
    expect(await ask(await issuer.token(key))).toEqual(good);
  });

  it('rotate: the new one signs at once, the old one is good while it is published and no longer', async () => {
    const [old, young] = [await newKey(), await newKey()];
    await startWithKeys(old);
    const before = await issuer.token(old);
    expect(await ask(before)).toEqual(good);
    issuer.published = [young, old];
    pass(cooldownMs + 1000);
    expect(await ask(await issuer.token(young))).toEqual(good);
    expect(issuer.fetches).toBe(2);
    expect(await ask(before)).toEqual(good);
    issuer.published = [young];
    pass(cacheMs + 1000);
    expect(await ask(await issuer.token(young))).toEqual(good);
    await soon(() => expect(issuer.fetches).toBe(3));
    await vi.waitFor(async () => expect(await ask(before)).toEqual(bad), { timeout: 10_000, interval: 10 });
    expect(await ask(await issuer.token(young))).toEqual(good);
  });

  it('for encryption sign nothing, under their own id or under that of the signing key', async () => {
    const [key, encryption] = [await newKey(), await newKey('enc')];
    await startWithKeys(encryption, key);
    expect(await ask(await issuer.token(key))).toEqual(good);
    expect(await ask(await issuer.token(encryption))).toEqual(bad);
    expect(await ask(await issuer.token(encryption, key.kid))).toEqual(bad);
  });
});

describe('the issuer away', () => {
  it('while its keys are cached: tokens stay good, also long after the five minutes', async () => {
    const key = await newKey();
    await startWithKeys(key);
    await issuer.stop();
    expect(await ask(await issuer.token(key))).toEqual(good);
    for (let n = 0; n < 4; n += 1) {
      pass(cacheMs);
      expect(await ask(await issuer.token(key))).toEqual(good);
    }
    await soon(() => expect(log.join('')).toContain('keys of the issuer could not be renewed'));
    expect(await ask(await issuer.token(await newKey()))).toEqual(bad);
    const next = await newKey();
    issuer.published = [next];
    await issuer.start();
    pass(cooldownMs + 1000);
    expect(await ask(await issuer.token(next))).toEqual(good);
  });

  it('and never met: 503, and good as soon as it is there', async () => {
    const key = await newKey();
    issuer.published = [key];
    await startTrusting();
    await soon(() => expect(log.join('')).toContain('no keys of the issuer yet'));
    const token = await issuer.token(key);
    expect(await ask(token)).toEqual([503, 'service_unavailable']);
    await issuer.start();
    expect(await ask(token)).toEqual(good);
    expect(issuer.fetches).toBe(1);
  });
});
