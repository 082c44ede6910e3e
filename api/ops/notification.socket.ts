/**
 * `/ws/notifications` on the public listener: one socket, one signed-in user, one notification per text frame. The
 * handshake always succeeds and a refusal is a close code, because a browser sees no HTTP status here.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { isCorrelationId } from '../../contracts/envelope.ts';
import { CodedError } from '../../contracts/errors.ts';
import { notificationCloses } from '../../contracts/ops/notification.ts';
import { headPosition, positionAfter } from '../../db/ops/notification.views.ts';
import type { ApiDeps } from '../deps.ts';
import { createTokenAuthentication, type AuthenticateToken } from '../middleware/authenticate.ts';
import { classify } from '../middleware/errors.ts';
import { createLimiter, type Limiter } from '../middleware/limits.ts';
import type { Caller } from '../route.ts';
import { NotificationConnection } from './notification.connection.ts';
import { chooseProtocol, closeCodeOf, readHandshake, remoteAddressOf } from './notification.handshake.ts';
import { NotificationHub } from './notification.hub.ts';
import { createSocketQuota, type SocketQuota } from './notification.quota.ts';

/** The sockets of one process. */
export interface NotificationSockets {
  /**
   * Takes over an upgraded connection.
   * @param refuse answers whoever speaks no WebSocket.
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, refuse: (error: CodedError) => void): void;
  /** Closes all of them with 1001 and waits until they are gone. */
  close(): Promise<void>;
}

/** Clients send nothing: what they do send is refused before it is kept. */
const maxMessageBytes = 1024;
const maxFragments = 4;
/** Leases of places outlive so many missed heartbeats. */
const leasePings = 3;

interface Sockets {
  readonly deps: ApiDeps;
  readonly hub: NotificationHub;
  readonly quota: SocketQuota;
  readonly limiter: Limiter;
  readonly authenticate: AuthenticateToken;
  readonly open: Set<NotificationConnection>;
}

/** Starts the heartbeat of the sockets to come. */
export function createNotificationSockets(deps: ApiDeps): NotificationSockets {
  const { config, metrics, log } = deps;
  const { pingMs, sweepMs, socketsMax } = config.notifications;
  const onFallback = (): void => metrics.limiterFellBack();
  let draining = false;
  const all: Sockets = {
    deps,
    hub: new NotificationHub({
      q: deps.db.q,
      subscriber: deps.redisSubscriber,
      sweepMs,
      log,
      onGap: () => metrics.notificationGapRead(),
    }),
    quota: createSocketQuota({ redis: deps.redis, leaseMs: leasePings * pingMs, onFallback }),
    limiter: createLimiter({ ...deps, onFallback }),
    authenticate: createTokenAuthentication(deps),
    open: new Set(),
  };
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    maxFragments,
    handleProtocols: chooseProtocol,
  });
  const refusals = new WeakMap<IncomingMessage, (error: CodedError) => void>();
  server.on('wsClientError', (_error, _socket, request) =>
    refusals.get(request)?.(new CodedError('invalid_request')),
  );
  const heartbeat = setInterval(() => {
    for (const one of all.open) one.beat();
    void all.quota.renew();
  }, pingMs);
  heartbeat.unref();
  return {
    upgrade: (request, socket, head, refuse) => {
      if (draining || all.open.size >= socketsMax) {
        refuse(new CodedError('service_unavailable'));
        return;
      }
      refusals.set(request, refuse);
      server.handleUpgrade(request, socket, head, (ws) => void serve(all, ws, request));
    },
    close: async () => {
      draining = true;
      clearInterval(heartbeat);
      await Promise.all(
        [...all.open].map((one) => one.end(notificationCloses.goingAway, 'the server goes away')),
      );
      all.hub.close();
    },
  };
}

async function serve(all: Sockets, ws: WebSocket, request: IncomingMessage): Promise<void> {
  const { deps, open } = all;
  const given = request.headers['x-correlation-id'];
  const correlationId = isCorrelationId(given) ? given : randomUUID();
  const connection = new NotificationConnection(ws, {
    ...deps.config.notifications,
    correlationId,
    log: deps.log,
    metrics: deps.metrics,
    onClosed: () => open.delete(connection),
  });
  open.add(connection);
  try {
    await admit(all, connection, request);
  } catch (error) {
    const coded = classify(error);
    if (coded.status >= 500) {
      deps.log.error(
        { correlation_id: correlationId, code: coded.code, err: coded.cause ?? coded },
        'socket failed',
      );
    }
    await connection.end(closeCodeOf(coded), coded.code);
  }
}

/** Everything between the handshake and the first notification. */
async function admit(
  all: Sockets,
  connection: NotificationConnection,
  request: IncomingMessage,
): Promise<void> {
  const { deps, limiter } = all;
  const { config, policies } = deps;
  const { token, after } = await withoutToken(all, request, () =>
    Promise.resolve(readHandshake(request, config.notifications.origins)),
  );
  const { caller, expiresAtMs } = await withoutToken(all, request, () => all.authenticate(token));
  if (!(await limiter.user(caller.userId, 'api')).allowed) throw new CodedError('rate_limit_exceeded');
  const max = await policies.get('notification.max_connections_per_user');
  if (!(await all.quota.take(caller.userId, connection.id, max))) throw new CodedError('rate_limit_exceeded');
  connection.onceClosed(() => void all.quota.release(caller.userId, connection.id));
  connection.expire(expiresAtMs);
  const receiver = connection.receiver(caller);
  const feed = await all.hub.join(receiver, () => locate(deps, caller, after), after !== undefined);
  connection.onceClosed(() => feed.leave());
  deps.log.info(
    { correlation_id: connection.correlationId, user_id: caller.userId, resumed: after !== undefined },
    'notification socket opened',
  );
}

/** Whoever comes without a good token is counted by address. */
async function withoutToken<T>(all: Sockets, request: IncomingMessage, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CodedError && error.status === 401) {
      const hops = all.deps.config.publicListener.trustedProxyHops;
      const verdict = await all.limiter.address(remoteAddressOf(request, hops));
      if (!verdict.allowed) throw new CodedError('rate_limit_exceeded');
    }
    throw error;
  }
}

async function locate(deps: ApiDeps, caller: Caller, after: string | undefined) {
  if (after === undefined) return await headPosition(deps.db.q, caller);
  const position = await positionAfter(deps.db.q, caller, after);
  if (position === undefined) throw new CodedError('notification_not_found');
  return position;
}
