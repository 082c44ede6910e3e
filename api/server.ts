import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { App } from './app.ts';
import { CodedError } from '../contracts/errors.ts';
import { errorAnswer } from './middleware/errors.ts';

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

/**
 * Starts a server with its limits.
 * @param port 0 for any.
 */
export async function listen(server: Server, app: App, host: string, port: number): Promise<Listening> {
  server.keepAliveTimeout = keepAliveMs;
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = requestTimeoutMs;
  server.on('clientError', refuseMalformed);
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
  const cut = setTimeout(() => server.closeAllConnections(), deadlineMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

/** What is no HTTP gets the envelope too. */
function refuseMalformed(_error: Error, socket: Socket | NodeJS.WritableStream): void {
  if (!socket.writable) {
    if ('destroy' in socket) socket.destroy();
    return;
  }
  const envelope = errorAnswer(new CodedError('invalid_request'), randomUUID()).envelope;
  const body = JSON.stringify(envelope);
  socket.end(
    'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\nX-Correlation-Id: ${envelope.correlation_id}\r\n\r\n${body}`,
  );
}
