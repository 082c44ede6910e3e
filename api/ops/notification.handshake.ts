import type { IncomingMessage } from 'node:http';
import { CodedError } from '../../contracts/errors.ts';
import { isUuid } from '../../contracts/ids.ts';
import { notificationCloses, notificationProtocol } from '../../contracts/ops/notification.ts';
import { bearerOf } from '../middleware/authenticate.ts';

/** What a client says when it connects. */
export interface Handshake {
  readonly token: string;
  /** The last notification that it has; undefined to get new ones only. */
  readonly after: string | undefined;
}

/** Where pages may come from; undefined asks for the host that they connect to. */
export type Origins = readonly string[] | 'any' | undefined;

const issue = (path: string, code: string, message: string): CodedError =>
  new CodedError('validation_error', { details: { issues: [{ path, code, message }] } });

/**
 * Reads the handshake.
 * @throws CodedError validation_error, insufficient_permissions (the origin), token_missing or token_invalid.
 */
export function readHandshake(request: IncomingMessage, origins: Origins): Handshake {
  if (!originAllowed(request, origins)) throw new CodedError('insufficient_permissions');
  const after = readQuery(request.url ?? '');
  return { token: readToken(request), after };
}

/** A page of another site can open sockets in a visitor's name; no other rule of browsers stops it. */
function originAllowed(request: IncomingMessage, origins: Origins): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || origins === 'any') return true;
  if (origins !== undefined) return origins.includes(origin.toLowerCase());
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

/** Only `after`; a token in an address would stand in the logs of every proxy. */
function readQuery(url: string): string | undefined {
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  for (const name of query.keys()) {
    if (name !== 'after') throw issue('query', 'unrecognized_keys', 'Unknown parameter.');
  }
  const [after, ...more] = query.getAll('after').map((id) => id.toLowerCase());
  if (more.length > 0) throw issue('query.after', 'repeated', 'Given more than once.');
  if (after !== undefined && !isUuid(after)) throw issue('query.after', 'invalid_format', 'Invalid UUID');
  return after;
}

/** The names in Sec-WebSocket-Protocol. */
const offered = (request: IncomingMessage): string[] =>
  (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** `Authorization` for those who can set it; browsers offer the token as a protocol. One of both. */
function readToken(request: IncomingMessage): string {
  const [token, ...more] = offered(request).filter((name) => name !== notificationProtocol);
  const twice = more.length > 0 || (token !== undefined && request.headers.authorization !== undefined);
  if (twice) throw issue('headers.Sec-WebSocket-Protocol', 'repeated', 'More than one credential.');
  return token ?? bearerOf(request);
}

/** The protocol that the answer names: a browser drops a connection whose answer names none that it offered. */
export const chooseProtocol = (protocols: ReadonlySet<string>): string | false => {
  if (protocols.has(notificationProtocol)) return notificationProtocol;
  const [first] = protocols;
  return first ?? false;
};

/** Who is at the other end, behind as many proxies as are believed. */
export function remoteAddressOf(request: IncomingMessage, trustedProxyHops: number): string {
  const forwarded = [request.headers['x-forwarded-for'] ?? []].flat().join(',');
  const told = forwarded.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  const chain = [request.socket.remoteAddress ?? 'unknown', ...told.toReversed()];
  return chain[Math.min(trustedProxyHops, chain.length - 1)] ?? 'unknown';
}

/** The close code of an error that an HTTP answer would carry. */
export function closeCodeOf(error: CodedError): number {
  const { status } = error;
  if (status === 502 || status === 503) return notificationCloses.tryAgainLater;
  return status >= 500 ? notificationCloses.internalError : 4000 + status;
}
