/**
 * `/ws/notifications` on the public listener: one socket, one signed-in user, one notification per text frame. The
 * handshake always succeeds and a refusal is a close code, because a browser sees no HTTP status here.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocketServer, type WebSocket } from 'ws';
import { CodedError } from '../../contracts/errors.ts';
import { notificationCloses } from '../../contracts/ops/notification.ts';
import { headPosition, positionAfter } from '../../db/ops/notification.views.ts';
import type { ApiDeps } from '../deps.ts';
import { createTokenAuthentication, type AuthenticateToken } from '../middleware/authenticate.ts';
import { RecentMap } from '../../contracts/recent-map.ts';
import { classify } from '../middleware/errors.ts';
import { createLimiter, type Limiter } from '../middleware/limits.ts';
import type { Caller } from '../route.ts';
import type { HandshakeOutcome, SocketRoute } from '../server.ts';
import { NotificationConnection } from './notification.connection.ts';
import { chooseProtocol, closeCodeOf, readHandshake, remoteAddressOf } from './notification.handshake.ts';
import { NotificationHub } from './notification.hub.ts';
import { createSocketQuota, type SocketQuota } from './notification.quota.ts';

/** The sockets of one process. */
export interface NotificationSockets extends SocketRoute {
  /** Closes all of them with 1001 and waits until they are gone. */
  close(): Promise<void>;
}

/** Clients send nothing: what they do send is refused before it is kept. */
const maxMessageBytes = 1024;
const maxFragments = 4;
/** Leases of places outlive so many missed heartbeats. */
const leasePings = 3;
const maxSpentAddresses = 10_000;

interface Sockets {
  readonly deps: ApiDeps;
  readonly hub: NotificationHub;
  readonly quota: SocketQuota;
  readonly limiter: Limiter;
  /** Until when attempts from an address are refused unseen, on the clock of `performance.now`. */
  readonly spent: RecentMap<number>;
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
    spent: new RecentMap({ size: maxSpentAddresses }),
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
    operation: 'serverUserNotification',
    upgrade: ({ request, socket, head, correlationId, refuse }) =>
      new Promise((resolve) => {
        if (draining || all.open.size >= socketsMax) {
          resolve(refuse(new CodedError('service_unavailable')));
          return;
        }
        refusals.set(request, (error) => {
          resolve(refuse(error));
          countStranger(all, addressOf(all, request)).catch(() => undefined); // its answer has gone out already
        });
        server.handleUpgrade(request, socket, head, (ws) => resolve(serve(all, ws, request, correlationId)));
        // Both are called before it returns; neither is when the client has gone.
        if (socket.destroyed) resolve(refuse(new CodedError('invalid_request')));
      }),
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

/** Resolves when the socket is admitted, or is being closed because it is not. */
async function serve(
  all: Sockets,
  ws: WebSocket,
  request: IncomingMessage,
  correlationId: string,
): Promise<HandshakeOutcome> {
  const { deps, open } = all;
  const connection = new NotificationConnection(ws, {
    ...deps.config.notifications,
    correlationId,
    log: deps.log,
    metrics: deps.metrics,
    onClosed: () => open.delete(connection),
  });
  open.add(connection);
  let userId: string | undefined;
  try {
    const arrival = await identify(all, request);
    userId = arrival.caller.userId;
    await admit(all, connection, arrival);
    return { status: 101, userId };
  } catch (error) {
    const coded = classify(error);
    if (coded.status >= 500) {
      deps.log.error(
        { correlation_id: correlationId, code: coded.code, err: coded.cause ?? coded },
        'socket failed',
      );
    }
    connection.refuse(closeCodeOf(coded), coded.code);
    return { status: coded.status, code: coded.code, ...(userId === undefined ? {} : { userId }) };
  }
}

/** Who comes, until when, and from where on. */
interface Arrival {
  readonly caller: Caller;
  readonly expiresAtMs: number;
  readonly after: string | undefined;
}

/** Whoever is refused before they are known is counted by address, and from a spent address nobody is looked at. */
async function identify(all: Sockets, request: IncomingMessage): Promise<Arrival> {
  const address = addressOf(all, request);
  if (isSpent(all, address)) throw new CodedError('rate_limit_exceeded');
  try {
    const { token, after } = readHandshake(request, all.deps.config.notifications.origins);
    return { ...(await all.authenticate(token)), after };
  } catch (error) {
    // What is away or broken on our side is no fault of theirs.
    if (classify(error).status < 500) await countStranger(all, address);
    throw error;
  }
}

const addressOf = ({ deps }: Sockets, request: IncomingMessage): string =>
  remoteAddressOf(request, deps.config.publicListener.trustedProxyHops);

const isSpent = ({ spent }: Sockets, address: string): boolean =>
  (spent.get(address) ?? -Infinity) > performance.now();

/** @throws CodedError rate_limit_exceeded when it was one too many. */
async function countStranger(all: Sockets, address: string): Promise<void> {
  if (isSpent(all, address)) return;
  const { allowed, resetSeconds } = await all.limiter.address(address);
  if (allowed) return;
  // Rounded down: the next minute is everybody's again.
  all.spent.set(address, performance.now() + (resetSeconds - 1) * 1000);
  throw new CodedError('rate_limit_exceeded');
}

/** Everything between the handshake and the first notification. */
async function admit(
  all: Sockets,
  connection: NotificationConnection,
  { caller, expiresAtMs, after }: Arrival,
): Promise<void> {
  const { deps, limiter } = all;
  const { policies } = deps;
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

async function locate(deps: ApiDeps, caller: Caller, after: string | undefined) {
  if (after === undefined) return await headPosition(deps.db.q, caller);
  const position = await positionAfter(deps.db.q, caller, after);
  if (position === undefined) throw new CodedError('notification_not_found');
  return position;
}
