import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import path from 'node:path';
import { exportSPKI, importJWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadKeys, signingKey } from '../../workers/local/issuer/keys.ts';
import {
  goodClaims,
  startApiHarness,
  startTimeoutMs,
  type ApiAnswer,
  type ApiHarness,
} from '../harness/api.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness();
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const ask = (token?: string): Promise<ApiAnswer> =>
  h.request('GET', '/api/v1/auth/personal', token === undefined ? {} : { token });
const keysDir = (): string => path.join(h.stateDir, 'issuer');
const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const claims = () => goodClaims(h.issuer().issuerUrl);

/** Signed with another key under the name of the real one. */
async function foreignKey(): Promise<string> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const header = { alg: 'RS256', kid: signingKey(loadKeys(keysDir())).kid };
  return await new SignJWT(claims()).setProtectedHeader(header).sign(privateKey);
}

/** Signed with the issuer's encryption key, which is published too. */
async function encryptionKey(): Promise<string> {
  const jwk = loadKeys(keysDir()).keys.find((key) => key.use === 'enc');
  const { kty, n, e, d, p, q, dp, dq, qi } = jwk ?? {};
  const key = await importJWK({ kty, n, e, d, p, q, dp, dq, qi } as Parameters<typeof importJWK>[0], 'RS256');
  return await new SignJWT(claims()).setProtectedHeader({ alg: 'RS256', kid: jwk?.kid ?? '' }).sign(key);
}

/** HMAC with the public key as the secret. */
async function confusedAlgorithm(): Promise<string> {
  const jwk = signingKey(loadKeys(keysDir()));
  const pem = await exportSPKI(createPublicKey({ key: { ...jwk }, format: 'jwk' }) as never);
  return await new SignJWT(claims())
    .setProtectedHeader({ alg: 'HS256', kid: jwk.kid })
    .sign(Buffer.from(pem));
}

describe('a token that is not good', () => {
  // prettier-ignore
  it.each([
    ['garbage',                        () => Promise.resolve('garbage'),                                     401, 'token_invalid'],
    ['three empty parts',              () => Promise.resolve('..'),                                          401, 'token_invalid'],
    ['of another key',                 foreignKey,                                                           401, 'token_invalid'],
    ['of the encryption key',          encryptionKey,                                                        401, 'token_invalid'],
    ['of an unknown key',              () => h.forge({}, { kid: 'nobody' }),                                 401, 'token_invalid'],
    ['without signature (alg none)',   () => Promise.resolve(new UnsecuredJWT(claims()).encode()),           401, 'token_invalid'],
    ['HS256 with the public key',      confusedAlgorithm,                                                    401, 'token_invalid'],
    ['expired',                        () => h.forge({ exp: nowSeconds() - 10 }),                            401, 'token_expired'],
    ['without an end',                 () => h.forge({ exp: undefined }),                                    401, 'token_invalid'],
    ['not valid yet',                  () => h.forge({ nbf: nowSeconds() + 60 }),                            401, 'token_invalid'],
    ['of another issuer',              () => h.forge({ iss: 'http://127.0.0.1:1/realms/gpuaas' }),           401, 'token_invalid'],
    ['whose sub is no uuid',           () => h.forge({ sub: 'service-account' }),                            401, 'token_invalid'],
    ['without sub',                    () => h.forge({ sub: undefined }),                                    401, 'token_invalid'],
    ['whose org_id is no uuid',        () => h.forge({ org_id: 'acme' }),                                    401, 'token_invalid'],
    ['that is an ID token',            () => h.forge({ typ: 'ID' }),                                         401, 'token_invalid'],
    ['that names no role of ours',     () => h.forge({ realm_access: { roles: ['offline_access'] } }),       403, 'insufficient_permissions'],
    ['that has no roles at all',       () => h.forge({ realm_access: undefined }),                           403, 'insufficient_permissions'],
  ] as const)('%s is refused', async (_what, make, status, code) => {
    const answer = await ask(await make());
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.headers.get('www-authenticate')).toBe(status === 401 ? 'Bearer error="invalid_token"' : null);
  });

  it('no token at all is token_missing', async () => {
    const answer = await ask();
    expect(answer).toMatchObject({ status: 401, body: { code: 'token_missing' } });
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
  });

  it.each(['Basic ZGV2OmRldg==', 'Bearer', 'Bearer a b', 'Token abc'])(
    '%s is token_invalid',
    async (authorization) => {
      const answer = await h.request('GET', '/api/v1/auth/personal', { headers: { authorization } });
      expect(answer).toMatchObject({ status: 401, body: { code: 'token_invalid' } });
    },
  );

  it('a token in the query is no token', async () => {
    const token = await h.token('dev-user');
    for (const name of ['token', 'access_token', 'auth']) {
      expect((await h.request('GET', `/api/v1/auth/personal?${name}=${token}`)).status).toBe(401);
      const both = await h.request('GET', `/api/v1/auth/personal?${name}=${token}`, { as: 'dev-user' });
      expect(both).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    }
  });

  it('no token is ever logged', async () => {
    await ask(await h.forge());
    expect(h.log.length).toBeGreaterThan(0);
    expect(h.log.join('\n')).not.toMatch(/eyJ[A-Za-z0-9_-]{10}/);
  });
});

describe('a good token', () => {
  it('is good for 5 s after its end, for clocks that differ', async () => {
    expect((await ask(await h.forge({ exp: nowSeconds() - 2 }))).status).toBe(200);
  });

  it('without organisation belongs to a personal one, always the same', async () => {
    const sub = randomUUID();
    const first = await ask(await h.forge({ sub, preferred_username: 'Zoë Müller' }));
    expect(first).toMatchObject({
      status: 200,
      body: { user_id: sub, roles: ['user'], posix: { username: 'zoemuller' } },
    });
    expect((await ask(await h.forge({ sub, org_id: null }))).body).toEqual(first.body);
  });

  it('of another organisation than the user is in is token_scope_invalid', async () => {
    const sub = randomUUID();
    const [first, second] = [randomUUID(), randomUUID()];
    expect((await ask(await h.forge({ sub, org_id: first }))).status).toBe(200);
    for (const org of [second, null]) {
      expect(await ask(await h.forge({ sub, org_id: org }))).toMatchObject({
        status: 403,
        body: { code: 'token_scope_invalid' },
      });
    }
  });

  it('is an admin token only with the role', async () => {
    const at = '/api/v1/admin/policies';
    expect(
      (await h.request('GET', at, { token: await h.forge({ realm_access: { roles: ['admin'] } }) })).status,
    ).toBe(200);
    const refused = await h.request('GET', at, {
      token: await h.forge({ realm_access: { roles: ['Admin', 'user'] } }),
    });
    expect(refused).toMatchObject({ status: 403, body: { code: 'admin_required' } });
  });
});

describe('the first sight of a user', () => {
  it('makes one organisation, project and POSIX identity, however many requests come at once', async () => {
    const token = await h.forge({ sub: randomUUID(), org_id: randomUUID(), preferred_username: 'crowd' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(token)));
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
  });

  it('gives users of one name different POSIX names, also at once', async () => {
    const org = randomUUID();
    const people = Array.from({ length: 8 }, () => randomUUID());
    const tokens = await Promise.all(
      people.map((sub) => h.forge({ sub, org_id: org, preferred_username: 'root' })),
    );
    const answers = await Promise.all(tokens.map(ask));
    const posix = answers.map(
      (answer) => (answer.body as { posix: { username: string; uid: number; gid: number } }).posix,
    );
    expect(posix.map((one) => one.username).sort()).toEqual(
      ['u-root', ...[2, 3, 4, 5, 6, 7, 8].map((n) => `u-root-${n}`)].sort(),
    );
    expect(new Set(posix.map((one) => one.uid)).size).toBe(people.length);
    expect(posix.every((one) => one.uid === one.gid && one.uid >= 10_000)).toBe(true);
  });

  it.each([
    ['', 'user'],
    ['---', 'user'],
    ['1337', 'user'],
    ['Ada.Lovelace@example.org', 'adalovelace'],
    ['x'.repeat(200), 'x'.repeat(24)],
    ["'; drop table users; --", 'droptableusers--'],
  ])('makes of %j the POSIX name %s, numbered when taken', async (preferred, expected) => {
    const answer = await ask(await h.forge({ sub: randomUUID(), preferred_username: preferred }));
    const { username } = (answer.body as { posix: { username: string } }).posix;
    expect(username.replace(/-\d+$/, '')).toBe(expected);
  });

  it('is the same through bootstrap, which is idempotent', async () => {
    const key = randomUUID();
    const again = () => h.request('POST', '/api/v1/auth/personal/bootstrap', { as: 'solo-user', key });
    const first = await again();
    expect(first.status).toBe(200);
    expect((await again()).body).toEqual(first.body);
    expect((await h.request('GET', '/api/v1/auth/personal', { as: 'solo-user' })).body).toEqual(first.body);
  });
});

describe('sessions', () => {
  it('login does not exist outside development', async () => {
    const body = { username: 'dev-user', password: 'dev123' };
    expect((await h.request('POST', '/api/v1/auth/login', { body })).status).toBe(404);
  });

  it('401 token_invalid for a rubbish refresh token', async () => {
    const answer = await h.request('POST', '/api/v1/auth/token/refresh', {
      body: { refresh_token: 'rubbish' },
      key: null,
    });
    expect(answer).toMatchObject({ status: 401, body: { code: 'token_invalid' } });
  });
});

describe('an issuer that is away', () => {
  it('locks nobody out whose key is known; refresh is 503; a new process is not ready', async () => {
    const [known, unknown] = [await h.forge(), await h.forge({}, { kid: 'rotated' })];
    await h.issuer().stop();
    expect((await ask(known)).status).toBe(200);
    expect(await ask(unknown)).toMatchObject({ status: 401, body: { code: 'token_invalid' } });
    const refresh = await h.request('POST', '/api/v1/auth/token/refresh', {
      body: { refresh_token: 'x' },
      key: null,
    });
    expect(refresh).toMatchObject({ status: 503, body: { code: 'service_unavailable' } });
    expect(refresh.headers.get('retry-after')).toBe('1');
    await h.restartIssuer();
    expect((await ask(known)).status).toBe(200);
  });
});
