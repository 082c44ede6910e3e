/** The embedded issuer's HTTP server: the provider at Keycloak's paths, logout by refresh token, the sign-in page. */
import { createServer, type Server } from 'node:http';
import { randomBytes } from 'node:crypto';
import express, { type ErrorRequestHandler, type Request, type Response } from 'express';
import type Provider from 'oidc-provider';
import { loadKeys } from './keys.ts';
import { buildProvider } from './provider.ts';
import { authenticate, issuerUrlFor, REALM, secretsEqual } from './realm.ts';
import { IssuerStore } from './store.ts';

const LOOPBACK_HOSTS: readonly string[] = ['127.0.0.1', '::1', 'localhost'];
const BODY_LIMIT = '64kb';

export interface IssuerServerOptions {
  readonly port: number;
  /** The address to bind; anything but loopback is refused. */
  readonly host: string;
  /** Where keys and sessions are kept. */
  readonly stateDir: string;
  readonly accessTokenTtlSeconds: number;
  /** The value of GPUAAS_ENV, if set. */
  readonly environment: string | undefined;
}

/** Throws unless this is a development machine's loopback: the credentials are public. */
export function assertDevelopmentOnly(options: Pick<IssuerServerOptions, 'host' | 'environment'>): void {
  if (options.environment?.trim().toLowerCase() === 'production') {
    throw new Error('the embedded issuer is for development only: GPUAAS_ENV is production');
  }
  if (!LOOPBACK_HOSTS.includes(options.host)) {
    throw new Error(`the embedded issuer binds to loopback only, not to ${options.host}`);
  }
}

function formField(req: Request, name: string): string | undefined {
  const body: unknown = req.body;
  if (typeof body !== 'object' || body === null) return undefined;
  const value = Object.entries(body).find(([key]) => key === name)?.[1];
  return typeof value === 'string' ? value : undefined;
}

function clientCredentials(req: Request): { id: string; secret: string } | undefined {
  const basic = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(req.headers.authorization ?? '')?.[1];
  if (basic !== undefined) {
    const [id, secret] = Buffer.from(basic, 'base64').toString('utf8').split(':');
    return id !== undefined && secret !== undefined ? { id, secret } : undefined;
  }
  const id = formField(req, 'client_id');
  const secret = formField(req, 'client_secret');
  return id !== undefined && secret !== undefined ? { id, secret } : undefined;
}

const oauthError = (res: Response, status: number, error: string, description: string): void => {
  res.status(status).json({ error, error_description: description });
};

/** Keycloak's back-channel logout: a refresh token ends its session, and every token of it stops introspecting. */
function logoutHandler(provider: Provider, store: IssuerStore) {
  return async (req: Request, res: Response): Promise<void> => {
    const given = clientCredentials(req);
    if (given?.id !== REALM.client.id || !secretsEqual(given.secret, REALM.client.secret)) {
      return oauthError(res, 401, 'invalid_client', 'Invalid client credentials');
    }
    const value = formField(req, 'refresh_token');
    if (value === undefined) return oauthError(res, 400, 'invalid_request', 'No refresh token');
    const token = await provider.RefreshToken.find(value);
    if (token?.grantId === undefined) return oauthError(res, 400, 'invalid_grant', 'Invalid refresh token');
    store.deleteByGrant(token.grantId);
    store.delete('Grant', token.grantId);
    res.status(204).end();
  };
}

const SIGN_IN_PAGE = (failed: boolean): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in: ${REALM.name}</title></head><body>
<h1>Sign in to ${REALM.name}</h1>${failed ? '<p role="alert">Invalid user name or password.</p>' : ''}
<form method="post"><p><label>User name <input name="username" autocomplete="username" autofocus></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Sign in</button></p></form></body></html>`;

/** The page of the authorization code flow; a good password resumes the flow, a bad one shows the page again. */
function signInHandlers(provider: Provider) {
  const show = async (req: Request, res: Response): Promise<void> => {
    await provider.interactionDetails(req, res);
    res.type('html').send(SIGN_IN_PAGE(false));
  };
  const submit = async (req: Request, res: Response): Promise<void> => {
    await provider.interactionDetails(req, res);
    const user = authenticate(formField(req, 'username'), formField(req, 'password'));
    if (user === undefined) {
      res.status(401).type('html').send(SIGN_IN_PAGE(true));
      return;
    }
    await provider.interactionFinished(req, res, { login: { accountId: user.sub } });
  };
  return { show, submit };
}

function statusOf(error: unknown): number {
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}

const onError: ErrorRequestHandler = (error: unknown, _req, res, next) => {
  if (res.headersSent) return next(error);
  const status = statusOf(error);
  if (status === 500) console.error(error instanceof Error ? error.message : 'unknown error');
  oauthError(
    res,
    status,
    status === 500 ? 'server_error' : 'invalid_request',
    'The request could not be served',
  );
};

/**
 * Starts the issuer and resolves once it listens. Rejects when the port is taken, when the bind is not loopback
 * and in production.
 */
export async function serveIssuer(
  options: IssuerServerOptions,
): Promise<{ issuerUrl: string; server: Server }> {
  assertDevelopmentOnly(options);
  const issuerUrl = issuerUrlFor(options.port);
  const keys = loadKeys(options.stateDir);
  const store = new IssuerStore(options.stateDir);
  const provider = buildProvider({
    issuerUrl,
    keys,
    store,
    accessTokenTtlSeconds: options.accessTokenTtlSeconds,
    cookieKey: randomBytes(32).toString('base64url'),
  });
  provider.on('server_error', (_ctx, error) => console.error(error.message));

  const app = express();
  app.disable('x-powered-by');
  const form = express.urlencoded({ extended: false, limit: BODY_LIMIT });
  const realmPath = new URL(issuerUrl).pathname;
  const signIn = signInHandlers(provider);
  app.use((req, _res, next) => {
    // Every address in a document is the issuer's own, whatever name the caller reached it by.
    req.headers.host = new URL(issuerUrl).host;
    next();
  });
  app.post(`${realmPath}/protocol/openid-connect/logout`, form, logoutHandler(provider, store));
  app.get(`${realmPath}/login/:uid`, signIn.show);
  app.post(`${realmPath}/login/:uid`, form, signIn.submit);
  app.use(realmPath, provider.callback());
  app.use((_req, res) => oauthError(res, 404, 'not_found', 'No such page'));
  app.use(onError);

  const server = createServer(app);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return { issuerUrl, server };
}
