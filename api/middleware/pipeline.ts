import { randomUUID } from 'node:crypto';
import type { Request, Response } from 'express';
import { CodedError } from '../../contracts/errors.ts';
import { isCorrelationId } from '../../contracts/envelope.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import type { NodeId } from '../../contracts/ids.ts';
import type { ApiDeps } from '../deps.ts';
import type { Answer, Caller, RequestContext, Route } from '../route.ts';
import type { AuthenticateNode, AuthenticateUser } from './authenticate.ts';
import { ClientGone, readJsonBody } from './body.ts';
import { classify, errorAnswer } from './errors.ts';
import type { Limiter, Verdict } from './limits.ts';
import type { Match, RouteTable } from './match.ts';
import { auditRefusal } from './refusals.ts';
import { describeRequest } from './trace.ts';
import { refuseParameters, validate } from './validate.ts';

/** What one listener does with every request. */
export interface Pipeline {
  readonly deps: Pick<ApiDeps, 'db' | 'log' | 'metrics'>;
  readonly table: RouteTable;
  readonly authenticateUser: AuthenticateUser;
  readonly authenticateNode: AuthenticateNode;
  readonly limiter: Limiter;
  readonly bodyLimitBytes: number;
  /** Whether answers are held against the contract. */
  readonly checkAnswers: boolean;
  /** Requests that a drain tells to end early. */
  readonly heldRequests: Set<AbortController>;
}

interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly correlationId: string;
  /** Known once the path is. */
  match?: Match;
  caller?: Caller;
  nodeId?: NodeId;
}

/** What metric, span and log say of a request whose client went away before it could be handled; nobody gets it. */
const clientGoneStatus = 499;

/** Serves one request, whatever happens: every path ends in an answer, a metric and a log line. */
export async function serve(pipeline: Pipeline, request: Request, response: Response): Promise<void> {
  const startedAt = performance.now();
  const exchange: Exchange = { request, response, correlationId: correlationOf(request, response) };
  try {
    send(response, await run(pipeline, exchange));
  } catch (error) {
    if (error instanceof ClientGone) {
      response.statusCode = clientGoneStatus;
      response.destroy();
    } else sendError(pipeline, exchange, error);
  }
  const operation = exchange.match?.route?.endpoint.id ?? 'none';
  const seconds = (performance.now() - startedAt) / 1000;
  pipeline.deps.metrics.observeRequest(operation, response.statusCode, seconds);
  describeRequest({
    method: request.method,
    route: exchange.match?.route?.endpoint.path,
    operation,
    status: response.statusCode,
    correlationId: exchange.correlationId,
  });
  const level = exchange.match?.route?.endpoint.tag === 'health' ? 'debug' : 'info';
  pipeline.deps.log[level](
    {
      correlation_id: exchange.correlationId,
      operation,
      method: request.method,
      status: response.statusCode,
      duration_ms: Math.round(seconds * 1000),
      user_id: exchange.caller?.userId,
      node_id: exchange.nodeId,
    },
    'request',
  );
}

/** Serves a path outside the contract: GET only, no parameters, errors in the same envelope. */
export async function servePlain(
  pipeline: Pipeline,
  path: string,
  handle: (request: Request, response: Response) => Promise<void>,
  request: Request,
  response: Response,
): Promise<void> {
  const exchange: Exchange = { request, response, correlationId: correlationOf(request, response) };
  try {
    if (request.method !== 'GET') {
      response.setHeader('Allow', 'GET');
      throw new CodedError('invalid_request', {
        transportStatus: 405,
        message: 'This path has no such method.',
      });
    }
    refuseParameters(new URL(request.originalUrl, 'http://local').searchParams);
    await handle(request, response);
  } catch (error) {
    sendError(pipeline, exchange, error);
  }
  const { correlationId } = exchange;
  const status = response.statusCode;
  describeRequest({ method: request.method, route: path, operation: 'none', status, correlationId });
  pipeline.deps.log.debug(
    { correlation_id: exchange.correlationId, path, status: response.statusCode },
    'request',
  );
}

function correlationOf(request: Request, response: Response): string {
  const given = request.headers['x-correlation-id'];
  const correlationId = isCorrelationId(given) ? given : randomUUID();
  response.setHeader('X-Correlation-Id', correlationId);
  return correlationId;
}

async function run(pipeline: Pipeline, exchange: Exchange): Promise<Answer> {
  const { request, response } = exchange;
  const path = request.originalUrl.split('?', 1)[0] ?? '';
  const match = pipeline.table.find(path, request.method);
  if (match === undefined)
    throw new CodedError('invalid_request', { transportStatus: 404, message: 'No such path.' });
  exchange.match = match;
  if (match.route === undefined) {
    response.setHeader('Allow', match.allowed.join(', '));
    throw new CodedError('invalid_request', {
      transportStatus: 405,
      message: 'This path has no such method.',
    });
  }
  const { endpoint } = match.route;
  await admit(pipeline, exchange, endpoint, match);
  // Its body would never end.
  if (response.destroyed) throw new ClientGone();
  const body = await readJsonBody(request, endpoint, pipeline.bodyLimitBytes);
  const header = request.headers['x-idempotency-key'];
  const valid = validate(endpoint, {
    params: match.params,
    query: new URLSearchParams(request.originalUrl.slice(path.length)),
    body,
    idempotencyKey: typeof header === 'string' ? header : undefined,
  });
  const held = new AbortController();
  const abort = (): void => held.abort();
  response.once('close', abort);
  if (endpoint.listener === 'internal') pipeline.heldRequests.add(held);
  try {
    const context = contextOf(exchange, valid, held.signal);
    const answer = await match.route.handle(context);
    return pipeline.checkAnswers ? checked(endpoint, answer) : answer;
  } finally {
    response.off('close', abort);
    pipeline.heldRequests.delete(held);
  }
}

/** Authentication, role and rate limit. */
async function admit(
  pipeline: Pipeline,
  exchange: Exchange,
  endpoint: Endpoint,
  match: Match,
): Promise<void> {
  const { request, response } = exchange;
  const remote = request.ip ?? 'unknown';
  const limitAddress = async (): Promise<void> =>
    limit(pipeline, response, 'address', await pipeline.limiter.address(remote));
  if (endpoint.auth === 'none') {
    // Whoever has no token yet may ask for one, but not without end.
    if (endpoint.method !== 'get') await limitAddress();
    return;
  }
  if (endpoint.auth === 'node') {
    exchange.nodeId = await pipeline.authenticateNode(request, match.params['node_id'] ?? '', limitAddress);
    return;
  }
  try {
    exchange.caller = await pipeline.authenticateUser(request);
  } catch (error) {
    if (error instanceof CodedError && error.status === 401) await limitAddress();
    throw error;
  }
  const { caller } = exchange;
  if (endpoint.rate !== 'none') {
    limit(pipeline, response, endpoint.rate, await pipeline.limiter.user(caller.userId, endpoint.rate));
  }
  if (endpoint.auth === 'admin' && !caller.isAdmin) {
    // Counted before it is audited, so that nobody can flood the audit log.
    await auditRefusal(pipeline.deps.db, endpoint, {
      caller,
      params: match.params,
      correlationId: exchange.correlationId,
    });
    throw new CodedError('admin_required');
  }
}

function limit(pipeline: Pipeline, response: Response, rateClass: string, verdict: Verdict): void {
  response.setHeader('RateLimit-Limit', verdict.limit);
  response.setHeader('RateLimit-Remaining', verdict.remaining);
  response.setHeader('RateLimit-Reset', verdict.resetSeconds);
  if (verdict.allowed) return;
  response.setHeader('Retry-After', verdict.resetSeconds);
  pipeline.deps.metrics.requestLimited(rateClass);
  throw new CodedError('rate_limit_exceeded');
}

function contextOf(
  exchange: Exchange,
  valid: { params: unknown; query: unknown; body: unknown; idempotencyKey: string },
  signal: AbortSignal,
): RequestContext<Route['endpoint']> {
  const { caller, nodeId, correlationId } = exchange;
  const context = {
    ...valid,
    correlationId,
    signal,
    ...(caller === undefined ? {} : { caller }),
    ...(nodeId === undefined ? {} : { nodeId }),
  };
  // Not enumerable, so that a spread of the context does not read it.
  const absent = (name: string) => ({
    get: (): never => {
      throw new Error(`this endpoint has no ${name}`);
    },
    enumerable: false,
  });
  if (caller === undefined) Object.defineProperty(context, 'caller', absent('caller'));
  if (nodeId === undefined) Object.defineProperty(context, 'nodeId', absent('nodeId'));
  return context as unknown as RequestContext<Route['endpoint']>;
}

/** An answer that its contract does not know is a defect. */
function checked(endpoint: Endpoint, answer: Answer): Answer {
  const declared = endpoint.responses[answer.status];
  if (declared === undefined)
    throw new Error(`${endpoint.id} answered ${answer.status}, which its contract does not have`);
  if (declared.schema === null) {
    if (answer.body == null) return answer;
    throw new Error(`${endpoint.id} answered ${answer.status} with a body, which its contract does not have`);
  }
  const fits = declared.schema.safeParse(answer.body);
  if (fits.success) return answer;
  const wrong = fits.error.issues.map((issue) => `${issue.path.join('.')} ${issue.code}`).join(', ');
  throw new Error(`${endpoint.id} answered ${answer.status} against its contract: ${wrong}`);
}

function send(response: Response, answer: Answer): void {
  if (response.headersSent) return;
  // Metric, span and log tell it also when the client has left and nobody gets it.
  response.statusCode = answer.status;
  if (response.destroyed) return;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (answer.body === undefined || answer.body === null) {
    response.end();
    return;
  }
  const bytes = Buffer.from(JSON.stringify(answer.body));
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Content-Length', bytes.byteLength);
  response.end(bytes);
}

function sendError(pipeline: Pipeline, exchange: Exchange, error: unknown): void {
  const coded = classify(error);
  const { status, envelope, headers } = errorAnswer(coded, exchange.correlationId);
  if (status >= 500) {
    const operation = exchange.match?.route?.endpoint.id ?? 'none';
    const fields = {
      correlation_id: exchange.correlationId,
      operation,
      code: coded.code,
      err: coded.cause ?? coded,
    };
    pipeline.deps.log.error(fields, 'request failed');
  }
  // What is left of a refused body is not read: the connection ends with the answer.
  const unread = exchange.request.readableEnded ? {} : closeAfter(exchange.request);
  send(exchange.response, { status, body: envelope, headers: { ...headers, ...unread } });
}

const closeAfter = (request: Request): Record<string, string> =>
  Number(request.headers['content-length'] ?? 0) > 0 || request.headers['transfer-encoding'] !== undefined
    ? { Connection: 'close' }
    : {};
