import express, { type Express, type Request, type Response } from 'express';
import type { ApiDeps } from './deps.ts';
import { createNodeAuthentication, createUserAuthentication } from './middleware/authenticate.ts';
import { createLimiter } from './middleware/limits.ts';
import { RouteTable } from './middleware/match.ts';
import { serve, servePlain, type Pipeline } from './middleware/pipeline.ts';
import { traceRequests } from './middleware/trace.ts';
import type { Route } from './route.ts';

/**
 * Room for the longest text of the contract (16,384 characters) in the widest spelling of JSON (12 bytes each): a text that
 * is a little too long is told by its field.
 */
const publicBodyLimitBytes = 256 * 1024;
const internalBodyLimitBytes = 1024 * 1024;

/** One listener: an Express application and what a drain must end. */
export interface App {
  readonly express: Express;
  /** Tells held requests to end now. */
  release(): void;
}

/** A handler of a path that is no part of the contract: metrics and documents. */
export interface PlainRoute {
  readonly path: string;
  readonly handle: (request: Request, response: Response) => Promise<void>;
}

/** The listener of users and operators. @param plain GET routes outside the contract. */
export function createPublicApp(
  routes: readonly Route[],
  deps: ApiDeps,
  plain: readonly PlainRoute[] = [],
): App {
  return createApp('public', routes, deps, plain);
}

/** The listener of node-agents. */
export function createInternalApp(routes: readonly Route[], deps: ApiDeps): App {
  return createApp('internal', routes, deps, []);
}

function createApp(
  listener: 'public' | 'internal',
  routes: readonly Route[],
  deps: ApiDeps,
  plain: readonly PlainRoute[],
): App {
  const stranger = routes.find((one) => one.endpoint.listener !== listener);
  if (stranger !== undefined)
    throw new Error(`${stranger.endpoint.id} does not belong on the ${listener} listener`);
  const pipeline: Pipeline = {
    deps,
    table: new RouteTable(routes),
    authenticateUser: createUserAuthentication(deps),
    authenticateNode: createNodeAuthentication(deps.db),
    limiter: createLimiter({ ...deps, onFallback: () => deps.metrics.limiterFellBack() }),
    bodyLimitBytes: listener === 'public' ? publicBodyLimitBytes : internalBodyLimitBytes,
    checkAnswers: deps.config.environment !== 'production',
    heldRequests: new Set(),
  };
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('trust proxy', listener === 'public' ? deps.config.publicListener.trustedProxyHops : 0);
  app.use(traceRequests(listener));
  app.use((_request, response, next) => {
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('Referrer-Policy', 'no-referrer');
    response.setHeader('X-Frame-Options', 'DENY');
    response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
    next();
  });
  for (const { path, handle } of plain) {
    app.all(path, (request, response) => servePlain(pipeline, path, handle, request, response));
  }
  app.use((request, response) => serve(pipeline, request, response));
  return {
    express: app,
    release: () => {
      for (const held of pipeline.heldRequests) held.abort();
    },
  };
}
