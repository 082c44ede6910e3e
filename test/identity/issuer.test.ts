import { execFile, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { decodeProtectedHeader, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startIssuer } from '../../workers/local/issuer/embedded.ts';
import type { IssuerHandle } from '../../workers/local/issuer/handle.ts';
import { assertDevelopmentOnly } from '../../workers/local/issuer/server.ts';
import { reserveFreePort, type ReservedPort } from '../../workers/local/ports.ts';
import { itBehavesAsAnIssuer } from './shared-behaviour.ts';
import { Browser } from './browser.ts';
import {
  asClient,
  comparableClaims,
  expectedClaims,
  passwordGrant,
  refreshGrant,
  textOf,
  USERS,
  verified,
} from './tokens.ts';

const START_TIMEOUT_MS = 60_000;
const MAIN = new URL('../../workers/local/issuer/main.ts', import.meta.url).pathname;

describe('the embedded issuer', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'gpuaas-issuer-'));
  let reserved: ReservedPort;
  let issuer: IssuerHandle;

  beforeAll(async () => {
    reserved = await reserveFreePort('issuer test');
    issuer = await startIssuer({ port: reserved.port, stateDir });
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await issuer?.stop();
    reserved?.release();
    rmSync(stateDir, { recursive: true, force: true });
  }, START_TIMEOUT_MS);

  itBehavesAsAnIssuer(() => issuer.issuerUrl);

  it('signs with the published signing key; a token signed by another key is refused', async () => {
    const grant = await passwordGrant(issuer.issuerUrl, 'dev-user', 'dev123');
    const { kid, alg, typ } = decodeProtectedHeader(textOf(grant, 'access_token'));
    expect({ alg, typ }).toEqual({ alg: 'RS256', typ: 'JWT' });
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const forged = await new SignJWT({ sub: USERS[1].sub, sid: 'x' })
      .setProtectedHeader({ alg: 'RS256', ...(kid === undefined ? {} : { kid }) })
      .setIssuer(issuer.issuerUrl)
      .setAudience('gpuaas-api')
      .setExpirationTime('5m')
      .sign(privateKey);
    await expect(verified(issuer.issuerUrl, forged)).rejects.toMatchObject({
      code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
    });
    const answer = await asClient(issuer.issuerUrl, 'token/introspect', { token: forged });
    expect(answer).toEqual({ status: 200, body: { active: false } });
  });

  it(
    'keeps tokens and refresh tokens good over a stop and over a kill',
    async () => {
      const grant = await passwordGrant(issuer.issuerUrl, 'dev-user', 'dev123');
      await issuer.stop();
      issuer = await startIssuer({ port: reserved.port, stateDir });
      expect((await verified(issuer.issuerUrl, textOf(grant, 'access_token'))).sub).toBe(USERS[0].sub);
      const second = await refreshGrant(issuer.issuerUrl, textOf(grant, 'refresh_token'));
      expect(second.status).toBe(200);
      await issuer.kill();
      issuer = await startIssuer({ port: reserved.port, stateDir });
      expect((await verified(issuer.issuerUrl, textOf(second, 'access_token'))).sub).toBe(USERS[0].sub);
      expect((await refreshGrant(issuer.issuerUrl, textOf(grant, 'refresh_token'))).status).toBe(400);
      expect((await refreshGrant(issuer.issuerUrl, textOf(second, 'refresh_token'))).status).toBe(400);
    },
    START_TIMEOUT_MS,
  );

  it('keeps its private keys and sessions from other accounts', () => {
    for (const file of ['issuer-keys.json', 'issuer-store.jsonl']) {
      expect(statSync(join(stateDir, file)).mode & 0o077, file).toBe(0);
    }
  });

  it('publishes no private part of a key', async () => {
    const response = await fetch(`${issuer.issuerUrl}/protocol/openid-connect/certs`);
    expect(await response.text()).not.toMatch(/"(d|p|q|dp|dq|qi)":/);
  });

  it('signs a browser in by authorization code with PKCE', async () => {
    const verifier = randomBytes(32).toString('base64url');
    const redirectUri = 'http://127.0.0.1:8090/auth/callback';
    const start = new URL(`${issuer.issuerUrl}/protocol/openid-connect/auth`);
    const query = { client_id: 'gpuaas-api', redirect_uri: redirectUri, response_type: 'code', state: 's1' };
    start.search = new URLSearchParams({ ...query, scope: 'openid' }).toString();
    const browser = new Browser();
    const unprotected = await browser.open(start);
    expect(unprotected.next.searchParams.get('error')).toBe('invalid_request');

    start.searchParams.set('code_challenge', createHash('sha256').update(verifier).digest('base64url'));
    start.searchParams.set('code_challenge_method', 'S256');
    const { next: page } = await browser.open(start);
    expect(await browser.open(page)).toMatchObject({ status: 200, text: expect.stringContaining('<form') });
    expect((await browser.open(page, { username: 'dev-user', password: 'wrong' })).status).toBe(401);
    const signedIn = await browser.open(page, { username: 'dev-user', password: 'dev123' });
    const { next: back } = await browser.open(signedIn.next);
    expect(`${back.origin}${back.pathname}`).toBe(redirectUri);
    expect(back.searchParams.get('state')).toBe('s1');
    const code = back.searchParams.get('code') ?? '';
    const exchange = (codeVerifier: string) =>
      asClient(issuer.issuerUrl, 'token', {
        grant_type: 'authorization_code',
        redirect_uri: redirectUri,
        code,
        code_verifier: codeVerifier,
      });
    expect(await exchange('x'.repeat(43))).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const answer = await exchange(verifier);
    const claims = comparableClaims(await verified(issuer.issuerUrl, textOf(answer, 'access_token')));
    const expected = expectedClaims(issuer.issuerUrl, USERS[0]);
    expect(claims).toEqual({ ...expected, scope: ['email', 'openid', 'profile'] });
    expect(await exchange(verifier)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  const form = 'application/x-www-form-urlencoded';
  // prettier-ignore
  it.each([
    ['POST', 'token',            'empty body',              form,               ''],
    ['POST', 'token',            'no content type',         undefined,          'grant_type=password'],
    ['POST', 'token',            'JSON',                    'application/json', '{"grant_type":"password"}'],
    ['POST', 'token',            'broken JSON',             'application/json', '{'],
    ['POST', 'token',            'bytes that are not text', form,               '\u0000\uFFFD%%%ZZ=&=&&=%00'],
    ['POST', 'token',            'unknown charset',         `${form}; charset=klingon`, 'grant_type=password'],
    ['POST', 'token',            'unknown grant type',      form,               'CLIENT&grant_type=magic'],
    ['POST', 'token',            'implicit grant',          form,               'CLIENT&grant_type=implicit'],
    ['POST', 'token',            'no user name',            form,               'CLIENT&grant_type=password'],
    ['POST', 'token',            'user name twice',         form,               'CLIENT&grant_type=password&username=dev-user&username=dev-admin&password=dev123'],
    ['POST', 'token',            'user name as an object',  form,               'CLIENT&grant_type=password&username[a]=dev-user&password=dev123'],
    ['POST', 'token',            'inherited user name',     form,               'CLIENT&grant_type=password&username=__proto__&password=constructor'],
    ['POST', 'token',            'rubbish refresh token',   form,               'CLIENT&grant_type=refresh_token&refresh_token=%00%FF'],
    ['POST', 'token',            'rubbish scope',           form,               'CLIENT&grant_type=password&username=dev-user&password=dev123&scope=%22%0A'],
    ['POST', 'token',            'foreign resource',        form,               'CLIENT&grant_type=authorization_code&code=x&redirect_uri=x&resource=http://x'],
    ['POST', 'token',            'body over the limit',     form,               'a'.repeat(100_000)],
    ['POST', 'logout',           'no client',               form,               'refresh_token=x'],
    ['POST', 'logout',           'rubbish token',           form,               'CLIENT&refresh_token=%00'],
    ['POST', 'logout',           'body over the limit',     form,               'a'.repeat(100_000)],
    ['POST', 'token/introspect', 'no token',                form,               'CLIENT'],
    ['POST', 'token/introspect', 'no client',               form,               'token=x'],
    ['GET',  'token',            'wrong method',            undefined,          undefined],
    ['GET',  'auth?client_id=nobody', 'unknown client',     undefined,          undefined],
    ['GET',  'auth?client_id=gpuaas-api&response_type=code&redirect_uri=http://evil', 'foreign redirect', undefined, undefined],
    ['GET',  '%E0%A4%A',         'malformed path',          undefined,          undefined],
    ['GET',  '../../../login/x', 'sign-in without a flow',  undefined,          undefined],
  ] as const)('%s %s with %s answers 4xx', async (method, path, _what, type, body) => {
    const credentials = 'client_id=gpuaas-api&client_secret=dev-client-secret';
    const response = await fetch(`${issuer.issuerUrl}/protocol/openid-connect/${path}`, {
      method,
      ...(type === undefined ? {} : { headers: { 'content-type': type } }),
      ...(body === undefined ? {} : { body: Buffer.from(body.replace('CLIENT', credentials)) }),
    });
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    expect(await response.text()).not.toContain('node_modules');
  });
});

describe('the embedded issuer stays on the development machine', () => {
  const run = (env: Record<string, string>): Promise<{ code: unknown; stderr: string }> =>
    new Promise((resolve) => {
      const options = { env: { ...process.env, ...env }, timeout: START_TIMEOUT_MS };
      execFile(process.execPath, ['--import', 'tsx', MAIN], options, (error, _stdout, stderr) => {
        resolve({ code: error === null ? 0 : error.code, stderr });
      });
    });

  it.each([
    { GPUAAS_ENV: 'production' },
    { GPUAAS_ENV: ' Production ' },
    { ISSUER_HOST: '0.0.0.0' },
    { ISSUER_HOST: '::' },
    { ISSUER_HOST: '192.0.2.1' },
  ])('refuses %o', (env) => {
    expect(() =>
      assertDevelopmentOnly({ host: env.ISSUER_HOST ?? '127.0.0.1', environment: env.GPUAAS_ENV }),
    ).toThrow(/development only|loopback only/);
  });

  it(
    'does not start in production or with a broken setting',
    async () => {
      const stateDir = mkdtempSync(join(tmpdir(), 'gpuaas-issuer-'));
      const base = { ISSUER_STATE_DIR: stateDir, ISSUER_PORT: '31999' };
      const production = await run({ ...base, GPUAAS_ENV: 'production' });
      expect(production).toMatchObject({ code: 1, stderr: expect.stringContaining('development only') });
      expect(await run({ ...base, ISSUER_PORT: 'http' })).toMatchObject({ code: 1 });
      expect(await run({ ...base, ISSUER_ACCESS_TOKEN_TTL_SECONDS: '0' })).toMatchObject({ code: 1 });
      writeFileSync(join(stateDir, 'issuer-keys.json'), '{"keys":[]}');
      expect(await run(base)).toMatchObject({ code: 1, stderr: expect.stringContaining('issuer-keys.json') });
      rmSync(stateDir, { recursive: true });
    },
    START_TIMEOUT_MS,
  );

  it(
    'says so when its port is taken',
    async () => {
      const held = await reserveFreePort('issuer test');
      const { port } = held;
      const squatter = createServer();
      await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
      const stateDir = mkdtempSync(join(tmpdir(), 'gpuaas-issuer-'));
      await expect(startIssuer({ port, stateDir })).rejects.toThrow(`port ${port}`);
      await new Promise((resolve) => squatter.close(resolve));
      held.release();
      rmSync(stateDir, { recursive: true });
    },
    START_TIMEOUT_MS,
  );

  it(
    'ends with its parent even when that is killed, and honours the token lifetime it was given',
    async () => {
      const held = await reserveFreePort('issuer test');
      const { port } = held;
      const stateDir = mkdtempSync(join(tmpdir(), 'gpuaas-issuer-'));
      const embedded = new URL('../../workers/local/issuer/embedded.ts', import.meta.url).href;
      const script = `import { startIssuer } from ${JSON.stringify(embedded)};
      const started = await startIssuer(${JSON.stringify({ port, stateDir, accessTokenTtlSeconds: 7 })});
      console.log(JSON.stringify({ pid: started.pid, url: started.issuerUrl })); setInterval(() => {}, 1000);`;
      const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const line = await new Promise<string>((resolve) =>
        createInterface({ input: parent.stdout }).once('line', resolve),
      );
      const started: unknown = JSON.parse(line);
      if (typeof started !== 'object' || started === null || !('pid' in started) || !('url' in started)) {
        throw new Error(line);
      }
      const { pid, url } = { pid: Number(started.pid), url: String(started.url) };
      expect((await passwordGrant(url, 'dev-user', 'dev123')).body['expires_in']).toBe(7);
      parent.kill('SIGKILL');
      await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'), {
        timeout: 10_000,
        interval: 50,
      });
      held.release();
      rmSync(stateDir, { recursive: true });
    },
    START_TIMEOUT_MS,
  );
});
