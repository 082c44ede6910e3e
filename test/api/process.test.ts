import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { reserveFreePort } from '../../workers/local/ports.ts';
import { startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';

const main = fileURLToPath(new URL('../../api/main.ts', import.meta.url));

let h: ApiHarness;
const started: ChildProcess[] = [];
beforeAll(async () => {
  h = await startApiHarness();
}, startTimeoutMs);
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await h?.stop();
}, startTimeoutMs);

interface Process {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly exited: Promise<number | null>;
}

function run(environment: Record<string, string>): Process {
  const child = spawn(process.execPath, ['--import', 'tsx', main], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => lines.push(line));
  }
  return { child, lines, exited: new Promise((resolve) => child.on('exit', (code) => resolve(code))) };
}

function variables(port: number, internalPort: number): Record<string, string> {
  const { config } = h;
  return {
    GPUAAS_ENV: 'development',
    DATABASE_URL: config.database.url,
    REDIS_URL: config.redisUrl,
    TEMPORAL_ADDRESS: config.temporal.address,
    KEYCLOAK_ISSUER_URL: config.issuerUrl,
    KEYCLOAK_CLIENT_SECRET: REALM.client.secret,
    INTERNAL_TLS_CERT_FILE: config.internalListener.certFile,
    INTERNAL_TLS_KEY_FILE: config.internalListener.keyFile,
    NODE_SECRET_KEY_FILE: config.nodeSecretKeyFile,
    TASK_SIGNING_KEY_FILE: config.nodeTaskSigningKeyFile,
    API_PORT: String(port),
    INTERNAL_PORT: String(internalPort),
  };
}

describe('the api process', () => {
  it('serves, gives tokens in development, drains on SIGTERM and ends with 0', async () => {
    const [open, internal] = [await reserveFreePort('api test'), await reserveFreePort('api test')];
    const { child, lines, exited } = run(variables(open.port, internal.port));
    const url = `http://127.0.0.1:${open.port}`;
    await expect.poll(() => lines.join('\n'), { timeout: 30_000 }).toContain('api ready');
    const login = (password: string): Promise<Response> =>
      fetch(`${url}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username: 'dev-user', password }),
      });
    expect((await login('wrong')).status).toBe(401);
    const tokens = (await (await login('dev123')).json()) as { access_token: string; refresh_token: string };
    const refreshed = await fetch(`${url}/api/v1/auth/token/refresh`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ refresh_token: tokens.refresh_token }),
    });
    expect(refreshed.status).toBe(200);
    const authorization = `Bearer ${tokens.access_token}`;
    expect((await fetch(`${url}/api/v1/auth/personal`, { headers: { authorization } })).status).toBe(200);
    // Readiness without Temporal takes its full second: an open request at the time of the signal.
    const slow = fetch(`${url}/readyz`);
    await expect.poll(async () => (await fetch(`${url}/healthz`)).status, { timeout: 30_000 }).toBe(200);
    child.kill('SIGTERM');
    expect((await slow).status).toBe(503);
    expect(await exited).toBe(0);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
    const log = lines.join('\n');
    expect(log).toContain('draining');
    for (const secret of [tokens.access_token, tokens.refresh_token, 'dev123', REALM.client.secret])
      expect(log).not.toContain(secret);
    open.release();
    internal.release();
  }, 120_000);

  it('names the variables that are wrong, without their values, and ends with 1', async () => {
    const { DATABASE_URL: _missing, ...rest } = variables(20_001, 20_002);
    const { lines, exited } = run({ ...rest, API_PORT: 'secret-port' });
    expect(await exited).toBe(1);
    expect(lines.join('\n')).toMatch(/DATABASE_URL.*API_PORT/);
    expect(lines.join('\n')).not.toContain('secret-port');
  }, 120_000);
});
