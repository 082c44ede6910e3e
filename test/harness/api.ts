/** A real API in this process, over a private stack and issuer. Every file that uses it has its own. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as tlsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { importJWK, SignJWT, type JWTHeaderParameters, type JWTPayload } from 'jose';
import { createLogger } from '../../activities/platform/logging.ts';
import { startApi, type RunningApi } from '../../api/compose.ts';
import { readApiConfig, type ApiConfig } from '../../contracts/environment.api.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { migrate } from '../../db/migrate.ts';
import { seed } from '../../db/seed.ts';
import { startIssuer } from '../../workers/local/issuer/embedded.ts';
import type { IssuerHandle } from '../../workers/local/issuer/handle.ts';
import { loadKeys, signingKey } from '../../workers/local/issuer/keys.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { ensureDevPki } from '../../workers/local/pki.ts';
import { reserveFreePort } from '../../workers/local/ports.ts';
import { startStack, type PartName, type Stack } from '../../workers/local/stack.ts';

export const startTimeoutMs = 120_000;

export type DevUser = (typeof REALM.users)[number]['username'];

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON; undefined for an empty body. */
  readonly body: unknown;
}

export interface RequestOptions {
  /** Whose token is sent; nobody's when absent. */
  readonly as?: DevUser;
  /** A token of any kind, instead of `as`. */
  readonly token?: string;
  readonly body?: unknown;
  /** Idempotency key: a fresh one for mutations unless given; null sends none. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiHarness {
  readonly stack: Stack;
  readonly config: ApiConfig;
  readonly db: Database;
  readonly api: RunningApi;
  readonly caFile: string;
  readonly stateDir: string;
  /** Everything that was logged so far. */
  readonly log: readonly string[];
  issuer(): IssuerHandle;
  restartIssuer(): Promise<void>;
  /** A token that the issuer gave for a user. */
  token(user: DevUser): Promise<string>;
  /** A token signed with the issuer's own key, over claims that are good unless changed. */
  forge(claims?: Readonly<Record<string, unknown>>, header?: Partial<JWTHeaderParameters>): Promise<string>;
  request(method: string, path: string, options?: RequestOptions): Promise<ApiAnswer>;
  /** The listener of the node-agents. */
  internal(
    method: string,
    path: string,
    options?: Pick<RequestOptions, 'token' | 'body'>,
  ): Promise<ApiAnswer>;
  stop(): Promise<void>;
}

export interface HarnessOptions {
  readonly parts?: readonly PartName[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Added to the engine's dynamic configuration. */
  readonly dynamicConfig?: Readonly<Record<string, number>>;
}

/** Starts stack, issuer and API; a part that was not asked for is an address where nobody answers. */
export async function startApiHarness(options: HarnessOptions = {}): Promise<ApiHarness> {
  const parts = options.parts ?? ['postgres', 'redis'];
  const stateDir = mkdtempSync(path.join(tmpdir(), 'gpuaas-api-'));
  const port = await reserveFreePort('issuer of an api test');
  const startTheIssuer = (): Promise<IssuerHandle> =>
    startIssuer({ port: port.port, stateDir: path.join(stateDir, 'issuer'), accessTokenTtlSeconds: 3600 });
  const [stack, pki, firstIssuer] = await Promise.all([
    startStack({
      name: 'api-test',
      ports: 'free',
      ephemeral: true,
      parts,
      testSettings: true,
      ...(options.dynamicConfig && { dynamicConfig: options.dynamicConfig }),
    }),
    ensureDevPki(path.join(stateDir, 'pki')),
    startTheIssuer(),
  ]);
  let issuer = firstIssuer;
  await migrate(stack.env['DATABASE_OWNER_URL'] ?? '');
  const db = openDatabase({ url: stack.env['DATABASE_URL'] ?? '', applicationName: 'api-test' });
  await seed(db);
  const config = testConfig(stateDir, {
    ...stack.env,
    ...pki,
    KEYCLOAK_ISSUER_URL: issuer.issuerUrl,
    ...options.environment,
  });
  const log: string[] = [];
  const logger = createLogger(
    { process: 'api', level: 'debug' },
    { write: (line: string) => void log.push(line) },
  );
  const api = await startApi(config, logger);
  const tokens = new Map<string, Promise<string>>();
  const token = (user: DevUser): Promise<string> => {
    const known = tokens.get(user) ?? passwordGrant(issuer.issuerUrl, user);
    tokens.set(user, known);
    return known;
  };
  return {
    stack,
    config,
    db,
    api,
    caFile: pki.INTERNAL_TLS_CA_FILE,
    stateDir,
    log,
    issuer: () => issuer,
    restartIssuer: async () => {
      issuer = await startTheIssuer();
    },
    token,
    forge: (claims, header) => forgeToken(path.join(stateDir, 'issuer'), issuer.issuerUrl, claims, header),
    request: (method, at, wanted = {}) => send(api.publicUrl, token, method, at, wanted),
    internal: (method, at, wanted = {}) =>
      sendTls(`${api.internalUrl}${at}`, readFileSync(pki.INTERNAL_TLS_CA_FILE), method, wanted),
    stop: async () => {
      await api.stop();
      await db.close();
      await Promise.all([issuer.stop(), stack.stop()]);
      port.release();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

/** Settings of a test's API: any free port, and an address where nobody answers for parts that do not run. */
function testConfig(stateDir: string, variables: Readonly<Record<string, string>>): ApiConfig {
  const secretFile = path.join(stateDir, 'node-secret.key');
  writeFileSync(secretFile, randomBytes(32), { mode: 0o600 });
  const nobody = '127.0.0.1:9';
  const read = readApiConfig({
    TEMPORAL_ADDRESS: nobody,
    REDIS_URL: `redis://${nobody}`,
    GPUAAS_ENV: 'test',
    MAAS_ENABLED: 'true',
    KEYCLOAK_CLIENT_SECRET: REALM.client.secret,
    NODE_SECRET_KEY_FILE: secretFile,
    ...variables,
  });
  return {
    ...read,
    publicListener: { ...read.publicListener, port: 0 },
    internalListener: { ...read.internalListener, port: 0 },
  };
}

async function passwordGrant(issuerUrl: string, username: DevUser): Promise<string> {
  const user = REALM.users.find((one) => one.username === username);
  const form = { grant_type: 'password', username, password: user?.password ?? '' };
  const client = { client_id: REALM.client.id, client_secret: REALM.client.secret };
  const answer = await fetch(`${issuerUrl}/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({ ...form, ...client }),
  });
  const body = (await answer.json()) as { access_token?: string };
  if (body.access_token === undefined) throw new Error(`the issuer answered ${answer.status}`);
  return body.access_token;
}

/** Good claims of a user that the issuer does not know. */
export function goodClaims(issuerUrl: string, sub: string = randomUUID()): JWTPayload {
  const nowSeconds = Math.floor(Date.now() / 1000);
  return {
    iss: issuerUrl,
    sub,
    iat: nowSeconds,
    exp: nowSeconds + 300,
    typ: 'Bearer',
    realm_access: { roles: ['user'] },
    preferred_username: 'forged',
  };
}

async function forgeToken(
  issuerDir: string,
  issuerUrl: string,
  claims: Readonly<Record<string, unknown>> = {},
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const jwk = signingKey(loadKeys(issuerDir));
  const key = await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], 'RS256');
  return await new SignJWT({ ...goodClaims(issuerUrl), ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: jwk.kid, ...header })
    .sign(key);
}

async function send(
  baseUrl: string,
  tokenOf: (user: DevUser) => Promise<string>,
  method: string,
  at: string,
  options: RequestOptions,
): Promise<ApiAnswer> {
  const headers: Record<string, string> = {};
  const token = options.token ?? (options.as === undefined ? undefined : await tokenOf(options.as));
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && options.key !== null) headers['x-idempotency-key'] = options.key ?? randomUUID();
  const answer = await fetch(`${baseUrl}${at}`, {
    method,
    redirect: 'manual',
    headers: { ...headers, ...options.headers },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  });
  const text = await answer.text();
  const json = answer.headers.get('content-type')?.startsWith('application/json') === true;
  return {
    status: answer.status,
    headers: answer.headers,
    body: text === '' ? undefined : json ? (JSON.parse(text) as unknown) : text,
  };
}

function sendTls(
  url: string,
  ca: Buffer,
  method: string,
  options: Pick<RequestOptions, 'token' | 'body'>,
): Promise<ApiAnswer> {
  const body = options.body === undefined ? '' : JSON.stringify(options.body);
  const headers = {
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    const request = tlsRequest(url, { method, headers, ca, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const given = Object.entries(answer.headers).map(
          ([name, value]) => [name, String(value)] as [string, string],
        );
        const parsed = text === '' ? undefined : (JSON.parse(text) as unknown);
        resolve({ status: answer.statusCode ?? 0, headers: new Headers(given), body: parsed });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** A field of a JSON answer. */
export function field(answer: ApiAnswer, name: string): unknown {
  const { body } = answer;
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined;
}
