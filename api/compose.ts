import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Logger } from 'pino';
import { watchDependencies } from '../activities/platform/dependencies.ts';
import { createTokenClient, createTokenVerifier } from '../activities/platform/jwks.ts';
import { createApiMetrics, type PoolCounts } from '../activities/platform/metrics.ts';
import { openRedis, openRedisSubscriber } from '../activities/platform/redis.ts';
import { sanitise } from '../activities/platform/sanitise.ts';
import { openTemporal } from '../activities/platform/temporal.ts';
import type { ApiConfig } from '../contracts/environment.api.ts';
import { notificationPath } from '../contracts/ops/notification.ts';
import { openDatabase, type Database } from '../db/client.ts';
import { createPolicyReader } from '../db/ops/policy.store.ts';
import { allocationRoutes } from './allocations/allocation.routes.ts';
import { createInternalApp, createPublicApp } from './app.ts';
import type { ApiDeps } from './deps.ts';
import { developmentRoutes, personalRoutes } from './identity/personal.routes.ts';
import { projectRoutes } from './identity/project.routes.ts';
import { sshKeyRoutes } from './identity/ssh-key.routes.ts';
import { nodeTaskRoutes } from './nodes/node-task.routes.ts';
import { nodeRoutes } from './nodes/node.routes.ts';
import { skuRoutes } from './nodes/sku.routes.ts';
import { auditLogRoutes } from './ops/audit-log.routes.ts';
import { deadLetterRoutes } from './ops/dead-letter.routes.ts';
import { dlqReplayRoutes } from './ops/dlq-replay.routes.ts';
import { documentRoutes } from './ops/documents.routes.ts';
import { eventLogRoutes } from './ops/event-log.routes.ts';
import { dependencyProbes, healthRoutes } from './ops/health.routes.ts';
import { notificationRoutes } from './ops/notification.routes.ts';
import { createNotificationSockets } from './ops/notification.socket.ts';
import { operationRoutes } from './ops/operation.routes.ts';
import { policyRoutes } from './ops/policy.routes.ts';
import type { Route } from './route.ts';
import { acceptUpgrades, listen } from './server.ts';

/** A serving API. */
export interface RunningApi {
  readonly publicUrl: string;
  readonly internalUrl: string;
  /** Stops accepting, lets open requests finish for up to 10 s, then closes every connection. */
  stop(): Promise<void>;
}

const drainMs = 10_000;
const minKeyBytes = 32;
/** As often as it is scraped. */
const probeDependenciesEveryMs = 10_000;

/** Every route of the public listener; login only in development. */
export const publicRoutes = (deps: ApiDeps): Route[] => [
  ...healthRoutes(deps),
  ...personalRoutes(deps),
  ...developmentRoutes(deps),
  ...projectRoutes(deps),
  ...sshKeyRoutes(deps),
  ...skuRoutes(deps),
  ...operationRoutes(deps),
  ...notificationRoutes(deps),
  ...allocationRoutes(deps),
  ...nodeRoutes(deps),
  ...policyRoutes(deps),
  ...auditLogRoutes(deps),
  ...deadLetterRoutes(deps, sanitise),
  ...dlqReplayRoutes(deps),
  ...eventLogRoutes(deps, sanitise),
];

/** Builds the adapters of the process. Nothing needs to be reachable yet. */
export function createApiDeps(config: ApiConfig, log: Logger): ApiDeps {
  const { url, poolMax: max } = config.database;
  const db = openDatabase({ url, max, applicationName: 'gpuaas-api' });
  const warn = (what: string) => (err: unknown) => log.warn({ err }, what);
  const { issuerUrl, issuerClientId: clientId, issuerClientSecretFile: secretFile } = config;
  const clientSecret =
    secretFile === undefined ? config.issuerClientSecret : readFileSync(secretFile, 'utf8').trim();
  return {
    db,
    temporal: openTemporal(config.temporal),
    redis: openRedis(config.redisUrl, 'gpuaas-api', { onError: warn('redis') }),
    redisSubscriber: openRedisSubscriber(config.redisUrl, 'gpuaas-api-subscriber', {
      onError: warn('redis subscriber'),
    }),
    policies: createPolicyReader(db.q),
    config,
    nodeSecretKey: readKey(config.nodeSecretKeyFile),
    tokens: createTokenVerifier({ issuerUrl, onStaleKeys: warn('keys of the issuer could not be renewed') }),
    sessions: createTokenClient({ issuerUrl, clientId, clientSecret }),
    log,
    metrics: createApiMetrics(() => poolCounts(db)),
  };
}

/**
 * Starts both listeners.
 * @throws Error when a port is taken or a key file cannot be read.
 */
export async function startApi(config: ApiConfig, log: Logger): Promise<RunningApi> {
  const deps = createApiDeps(config, log);
  const { publicListener, internalListener } = config;
  const tls = { cert: readFileSync(internalListener.certFile), key: readFileSync(internalListener.keyFile) };
  const agents = nodeTaskRoutes(deps);
  const publicApp = createPublicApp(publicRoutes(deps), deps, documentRoutes(deps));
  const internalApp = createInternalApp(agents.routes, deps);
  const publicServer = createServer(publicApp.express);
  const notifications = createNotificationSockets(deps);
  acceptUpgrades(publicServer, 'public', new Map([[notificationPath, notifications]]), log);
  const [open, internal] = await Promise.all([
    listen(publicServer, publicApp, publicListener.host, publicListener.port),
    listen(
      createTlsServer(tls, internalApp.express),
      internalApp,
      internalListener.host,
      internalListener.port,
    ),
  ]);
  const dependencies = watchDependencies({
    probes: dependencyProbes(deps),
    everyMs: probeDependenciesEveryMs,
    tell: (dependency, isUp) => deps.metrics.dependencyUp(dependency, isUp),
    log,
  });
  // The first request need not wait for the keys; without them it tries again.
  deps.tokens
    .probe(AbortSignal.timeout(drainMs))
    .catch((err: unknown) => log.warn({ err }, 'no keys of the issuer yet'));
  return {
    publicUrl: `http://${open.host}:${open.port}`,
    internalUrl: `https://${internal.host}:${internal.port}`,
    stop: async () => {
      agents.close();
      dependencies.stop();
      await Promise.all([notifications.close(), open.drain(drainMs), internal.drain(drainMs)]);
      deps.redis.disconnect();
      deps.redisSubscriber.disconnect();
      await Promise.allSettled([deps.temporal.connection.close(), deps.db.close()]);
    },
  };
}

function readKey(file: string): Buffer {
  const key = readFileSync(file);
  if (key.byteLength < minKeyBytes) throw new Error(`${file} must hold at least ${minKeyBytes} bytes`);
  return key;
}

/** Counts of the pool under the query builder. */
function poolCounts(db: Database): PoolCounts {
  const pool: unknown = '$client' in db.q ? db.q.$client : undefined;
  const count = (name: string): number => {
    if (typeof pool !== 'object' || pool === null || !(name in pool)) return 0;
    return Number((pool as Record<string, unknown>)[name]);
  };
  return { total: count('totalCount'), idle: count('idleCount'), waiting: count('waitingCount') };
}
