import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { WebSocket } from 'ws';
import { notificationCloses } from '../../contracts/ops/notification.ts';
import type { NotificationViewer } from '../../db/ops/notification.views.ts';
import type { Metrics } from '../deps.ts';
import type { Receiver } from './notification.hub.ts';

export interface ConnectionOptions {
  /** Also how long a page of stored notifications may take to leave. */
  readonly pingMs: number;
  readonly bufferBytes: number;
  readonly correlationId: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly onClosed: () => void;
}

const maxTimerMs = 2_147_483_647;
/** How long an end waits for the client before it cuts the connection. */
const cutMs = 2500;
/** The same for a client that was not let in, from when its close code has left. */
const refusedCutMs = 250;

/** One open socket: what goes out, the heartbeat, the end. */
export class NotificationConnection {
  readonly id = randomUUID();
  readonly #ws: WebSocket;
  readonly #options: ConnectionOptions;
  readonly #closed: Promise<void>;
  readonly #atClose = new Set<() => void>();
  #isClosed = false;
  #isEnding = false;
  #cut: NodeJS.Timeout | undefined;
  #answered = true;
  #sent = 0;
  #userId: string | undefined;
  #expiry: NodeJS.Timeout | undefined;

  constructor(ws: WebSocket, options: ConnectionOptions) {
    this.#ws = ws;
    this.#options = options;
    options.metrics.notificationSocketOpened();
    // Told by `close` as well; without a listener it would end the process.
    ws.on('error', () => undefined);
    ws.on('pong', () => {
      this.#answered = true;
    });
    ws.on('message', () => void this.end(notificationCloses.policyViolation, 'clients send nothing'));
    this.#closed = new Promise((resolve) => {
      ws.once('close', (code) => {
        this.#finish(code);
        resolve();
      });
    });
  }

  get correlationId(): string {
    return this.#options.correlationId;
  }

  /** Runs when the socket is closed, at once when it is already. */
  onceClosed(work: () => void): void {
    if (this.#isClosed) work();
    else this.#atClose.add(work);
  }

  /** Ends the socket when its token expires. */
  expire(atMs: number): void {
    if (this.#isClosed) return;
    const leftMs = atMs - Date.now();
    this.#expiry = setTimeout(
      () => {
        if (Date.now() < atMs) this.expire(atMs);
        else void this.end(notificationCloses.unauthenticated, 'token_expired');
      },
      Math.min(Math.max(leftMs, 0), maxTimerMs),
    );
    this.#expiry.unref();
  }

  /** Asks the client for a sign of life; one that gave none since the last time is cut. */
  beat(): void {
    if (!this.#answered) {
      this.#ws.terminate();
      return;
    }
    this.#answered = false;
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
  }

  /**
   * Closes with a code, and cuts the connection of a client that does not answer. The first end counts.
   * @returns when the socket is closed.
   */
  end(code: number, reason: string): Promise<void> {
    if (this.#beginEnd(code, reason)) this.#cut = setTimeout(() => this.#ws.terminate(), cutMs);
    return this.#closed;
  }

  /** The same for a client that was not let in: it keeps its place no longer than its close code needs to leave. */
  refuse(code: number, reason: string): void {
    if (!this.#beginEnd(code, reason)) return;
    const giveUpAt = performance.now() + cutMs;
    let hasLeft = this.#ws.bufferedAmount === 0;
    this.#cut = setInterval(() => {
      if (hasLeft || performance.now() >= giveUpAt) this.#ws.terminate();
      hasLeft = this.#ws.bufferedAmount === 0;
    }, refusedCutMs);
  }

  /** @returns false when it had begun before. */
  #beginEnd(code: number, reason: string): boolean {
    if (this.#isClosed || this.#isEnding) return false;
    this.#isEnding = true;
    this.#ws.removeAllListeners('message');
    this.#ws.close(code, reason);
    return true;
  }

  /** The socket as its user's receiver. */
  receiver(viewer: NotificationViewer): Receiver {
    this.#userId = viewer.userId;
    return {
      viewer: { userId: viewer.userId, isAdmin: viewer.isAdmin },
      send: (frame) => this.#send(frame),
      sendAll: (frames) => this.#sendAll(frames),
    };
  }

  #send(frame: string): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (this.#ws.bufferedAmount > this.#options.bufferBytes) return this.#tooSlow();
    this.#ws.send(frame);
    this.#count(1);
    return true;
  }

  async #sendAll(frames: readonly string[]): Promise<boolean> {
    const last = frames.at(-1);
    if (last === undefined) return true;
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    for (const frame of frames.slice(0, -1)) this.#ws.send(frame);
    const left = await this.#leaves(last);
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (!left) return this.#tooSlow();
    this.#count(frames.length);
    return true;
  }

  /** Sends the last frame; true when everything before it and itself was handed to the network in time. */
  async #leaves(frame: string): Promise<boolean> {
    return await new Promise((resolve) => {
      const settle = (inTime: boolean): void => {
        clearTimeout(timer);
        this.#atClose.delete(giveUp);
        resolve(inTime);
      };
      const giveUp = (): void => settle(false);
      const timer = setTimeout(giveUp, this.#options.pingMs);
      this.#atClose.add(giveUp);
      this.#ws.send(frame, (error) => settle(error == null));
    });
  }

  /** Nothing is kept beyond the buffer: the client comes again and reads what is stored. */
  #tooSlow(): false {
    this.#options.metrics.slowNotificationSocket();
    void this.end(notificationCloses.tryAgainLater, 'slow consumer');
    return false;
  }

  #count(frames: number): void {
    this.#sent += frames;
    this.#options.metrics.notificationsDelivered(frames);
  }

  #finish(code: number): void {
    this.#isClosed = true;
    clearTimeout(this.#expiry);
    clearInterval(this.#cut);
    const { log, metrics, correlationId, onClosed } = this.#options;
    metrics.notificationSocketClosed(code);
    onClosed();
    for (const work of this.#atClose) work();
    this.#atClose.clear();
    log.info(
      { correlation_id: correlationId, user_id: this.#userId, close_code: code, sent: this.#sent },
      'notification socket closed',
    );
  }
}
