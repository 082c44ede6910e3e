import { randomUUID } from 'node:crypto';
import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { App } from './app.ts';
import { isCorrelationId } from '../contracts/envelope.ts';
import { CodedError, type ErrorCode } from '../contracts/errors.ts';
import { errorAnswer } from './middleware/errors.ts';
import { describeRequest, traceHandshake } from './middleware/trace.ts';

/** A listener that serves. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Accepts nothing new, waits for what is open, and cuts what is left after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

const keepAliveMs = 65_000;
const headersTimeoutMs = 15_000;
const requestTimeoutMs = 30_000;
const idleSweepMs = 50;
/** Of a refusal that comes before the path is known. */
const knownMethods = 'GET, POST, PUT, PATCH, DELETE';
/** How long a refusal may take to leave. */
const refusalTimeoutMs = 15_000;

/** Connections that left the HTTP server for a socket or its refusal: it knows them no more, but waits for them. */
const upgraded = new WeakMap<Server, Set<Duplex>>();

/**
 * Starts a server with its limits.
 * @param port 0 for any.
 */
export async function listen(server: Server, app: App, host: string, port: number): Promise<Listening> {
  server.keepAliveTimeout = keepAliveMs;
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = requestTimeoutMs;
  server.on('clientError', refuseMalformed);
  refuseConnects(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    host,
    port: (server.address() as AddressInfo).port,
    drain: (deadlineMs) => drain(server, app, deadlineMs),
  };
}

async function drain(server: Server, app: App, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  app.release();
  // Connections that fall idle during the drain would be kept for the keep-alive time.
  const sweep = setInterval(() => server.closeIdleConnections(), idleSweepMs);
  const cut = setTimeout(() => {
    server.closeAllConnections();
    for (const socket of upgraded.get(server) ?? []) socket.destroy();
  }, deadlineMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

/** What is no HTTP gets the envelope too. */
function refuseMalformed(error: Error, socket: Duplex): void {
  refuseRaw(socket, isUnknownMethod(error) ? unknownMethod() : new CodedError('invalid_request'));
}

/** A line that asks for a path with a word that is no method of the API, or the beginning of one. */
const foreignLine =
  /^(?!(?:GET|POST|PUT|PATCH|DELETE) )[\w!#$%&'*+.^`|~-]+(?: [^ \r\n]+ HTTP\/1\.[01]\r?\n| [^\n]*$|$)/;

/** The parser stops at the first letter that no method has, or at the version when the method is another protocol's. */
function isUnknownMethod(error: Error): boolean {
  const { code, rawPacket, bytesParsed } = error as Error & {
    readonly code?: unknown;
    readonly rawPacket?: unknown;
    readonly bytesParsed?: unknown;
  };
  if (code !== 'HPE_INVALID_METHOD' && code !== 'HPE_INVALID_CONSTANT') return false;
  if (!Buffer.isBuffer(rawPacket) || typeof bytesParsed !== 'number') return false;
  const text = rawPacket.toString('latin1');
  return foreignLine.test(text.slice(text.lastIndexOf('\n', bytesParsed - 1) + 1));
}

const unknownMethod = (): CodedError =>
  new CodedError('invalid_request', { transportStatus: 405, message: 'There is no such method.' });

/** Nobody is connected through: a wish for it is answered in its turn, like every other request. */
function refuseConnects(server: Server): void {
  const afterAnswers = answersOf(server);
  server.on('connect', (_request, socket) => {
    detach(server, socket);
    // The server listens no more for what becomes of it, nor reads it.
    socket.on('error', () => socket.destroy());
    socket.resume();
    afterAnswers(socket, () => refuseRaw(socket, unknownMethod()));
  });
}

/** Counts a connection among those that the server knows no more. @returns what forgets it again. */
function detach(server: Server, socket: Duplex): () => void {
  const taken = upgraded.get(server) ?? new Set<Duplex>();
  upgraded.set(server, taken.add(socket));
  const forget = (): boolean => taken.delete(socket);
  socket.once('close', forget);
  return () => {
    forget();
    socket.off('close', forget);
  };
}

/** Ends the connection with the answer, whether the client closes its own end or not. */
function refuseRaw(socket: Duplex, error: CodedError, correlationId: string = randomUUID()): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, envelope, headers } = errorAnswer(error, correlationId);
  const body = JSON.stringify(envelope);
  const lines = {
    ...headers,
    ...(status === 405 ? { Allow: knownMethods } : {}),
    Connection: 'close',
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'X-Correlation-Id': envelope.correlation_id,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  const late = setTimeout(() => socket.destroy(), refusalTimeoutMs);
  socket.once('close', () => clearTimeout(late));
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${head.join('')}\r\n${body}`);
}

/** A client that wants a socket. */
export interface Wish {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly correlationId: string;
  /** Answers with an error instead and ends the connection. */
  refuse(error: CodedError): HandshakeOutcome;
}

/** How a handshake ended: 101, or the status and code of the refusal, by whichever way the client was told. */
export interface HandshakeOutcome {
  readonly status: number;
  readonly code?: ErrorCode;
  readonly userId?: string;
}

/** The sockets of one path. */
export interface SocketRoute {
  /** As the AsyncAPI document names it. */
  readonly operation: string;
  /** Takes over the connection. Resolves when the handshake is over, not the socket; never rejects. */
  upgrade(wish: Wish): Promise<HandshakeOutcome>;
}

/**
 * WebSockets of a listener, by path, each handshake in a span and a log line. A wish for any other protocol, or on any
 * other path, is overlooked as HTTP permits: the request is served like every other, with its body, span, metric, log
 * line and limits, and its connection is kept. To be called once for a server.
 */
export function acceptUpgrades(
  server: Server,
  listener: 'public' | 'internal',
  routes: ReadonlyMap<string, SocketRoute>,
  log: Logger,
): void {
  const afterAnswers = answersOf(server);
  server.on('upgrade', (request, socket, head) => {
    const forget = detach(server, socket);
    const cut = (): unknown => socket.destroy();
    // Whoever takes the connection listens for its errors itself; until then they end it.
    socket.on('error', cut);
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const route = routes.get(path);
    afterAnswers(socket, () => {
      if (route !== undefined && request.headers.upgrade?.toLowerCase() === 'websocket') {
        const wish = wishOf(request, socket, head);
        void traceHandshake(request, listener, () => shakeHands(path, route, wish, log));
      } else if (!socket.destroyed) {
        forget();
        socket.off('error', cut);
        giveBack(server, request, socket, head);
      }
    });
  });
}

/** Tells when the requests that came before on a connection are answered: a client may send several at once. */
function answersOf(server: Server): (socket: Duplex, work: () => void) => void {
  const last = new WeakMap<Duplex, ServerResponse>();
  server.on('request', ({ socket }, response) => {
    last.set(socket, response);
    response.once('close', () => {
      if (last.get(socket) === response) last.delete(socket);
    });
  });
  return (socket, work) => {
    const response = last.get(socket);
    if (response === undefined) work();
    else response.once('close', work);
  };
}

/** Lets the server read the request again, without its wish. */
function giveBack(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method = 'GET', url = '/', httpVersion, rawHeaders } = request;
  const lines = rawHeaders.flatMap((name, index) =>
    index % 2 === 1 || name.toLowerCase() === 'upgrade'
      ? []
      : [`${name}: ${rawHeaders[index + 1] ?? ''}\r\n`],
  );
  const text = `${method} ${url} HTTP/${httpVersion}\r\n${lines.join('')}\r\n`;
  // The answer before may have left the time limit of an idle connection.
  if (socket instanceof Socket) socket.setTimeout(0);
  socket.unshift(Buffer.concat([Buffer.from(text, 'latin1'), head]));
  server.emit('connection', socket);
}

function wishOf(request: IncomingMessage, socket: Duplex, head: Buffer): Wish {
  const given = request.headers['x-correlation-id'];
  const correlationId = isCorrelationId(given) ? given : randomUUID();
  return {
    request,
    socket,
    head,
    correlationId,
    refuse: (error) => {
      refuseRaw(socket, error, correlationId);
      return { status: error.status, code: error.code };
    },
  };
}

/** One handshake: like a request it ends in a description of its span and a log line. */
async function shakeHands(path: string, route: SocketRoute, wish: Wish, log: Logger): Promise<void> {
  const startedAt = performance.now();
  const { operation } = route;
  const { correlationId, request } = wish;
  const { method = 'GET' } = request;
  const { status, code, userId } = await route.upgrade(wish);
  describeRequest({
    method,
    route: path,
    operation,
    status,
    correlationId,
    ...(code === undefined ? {} : { code }),
  });
  log.info(
    {
      correlation_id: correlationId,
      operation,
      method,
      status,
      code,
      duration_ms: Math.round(performance.now() - startedAt),
      user_id: userId,
    },
    'request',
  );
}
