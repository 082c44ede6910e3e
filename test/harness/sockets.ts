/** A client of `/ws/notifications` that writes down everything it is sent. */
import { once } from 'node:events';
import { WebSocket, type ClientOptions } from 'ws';
import { notificationPath } from '../../contracts/ops/notification.ts';
import { until } from './lab.ts';

export interface SocketClient {
  readonly ws: WebSocket;
  /** Every text frame, as it came. */
  readonly frames: readonly string[];
  /** The `id` of every frame. */
  readonly ids: readonly string[];
  /** Binary frames; there should be none. */
  readonly binary: number;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** Waits until so many frames came. */
  untilFrames(count: number): Promise<void>;
  /** Ends at once, as a lost connection does. */
  cut(): void;
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly token?: string;
  /** Offered in Sec-WebSocket-Protocol. */
  readonly protocols?: readonly string[];
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly client?: ClientOptions;
}

const idOf = (frame: string): string => (JSON.parse(frame) as { id: string }).id;

/** Starts to connect; the token goes into the Authorization header. @param url of the API, with http. */
export function dialSocket(url: string, options: ConnectOptions = {}): SocketClient {
  const authorization = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  const address = `${url.replace(/^http/, 'ws')}${notificationPath}${options.query ?? ''}`;
  const ws = new WebSocket(address, [...(options.protocols ?? [])], {
    perMessageDeflate: false,
    ...options.client,
    headers: { ...authorization, ...options.headers },
  });
  const frames: string[] = [];
  let binary = 0;
  ws.on('error', () => undefined);
  ws.on('message', (data: Buffer, isBinary) => {
    if (isBinary) binary += 1;
    else frames.push(data.toString('utf8'));
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.once('close', (code, reason) => resolve({ code, reason: reason.toString('utf8') }));
  });
  return {
    ws,
    frames,
    get ids() {
      return frames.map(idOf);
    },
    get binary() {
      return binary;
    },
    closed,
    untilFrames: (count) =>
      until(`${count} frames`, () => frames.length >= count, { state: () => frames.length }),
    cut: () => ws.terminate(),
    close: async () => {
      ws.close();
      await closed;
    },
  };
}

/** Connects and waits until the handshake is done; a refusal comes after it, as a close. */
export async function openSocket(url: string, options: ConnectOptions = {}): Promise<SocketClient> {
  const client = dialSocket(url, options);
  if (client.ws.readyState === WebSocket.CONNECTING) await once(client.ws, 'open');
  return client;
}
