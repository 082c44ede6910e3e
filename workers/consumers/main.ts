/** The event consumers: everything that JetStream delivers to the platform itself. */
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '../../activities/platform/logging.ts';
import { connectNats, watchPayloadBound } from '../../activities/platform/nats.ts';
import { openRedis } from '../../activities/platform/redis.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { startTracing, withRemoteParent } from '../../activities/platform/tracing.ts';
import { parseEnvironment } from '../../contracts/environment.api.ts';
import { consumersEnvironmentSchema } from '../../contracts/environment.worker.api.ts';
import { openDatabase } from '../../db/client.ts';
import { maxEventBytes } from '../../db/outbox.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { allSubscriptions } from './compose.ts';
import { serveMetrics } from './metrics.ts';
import { deadLetterDesk } from './ops/dead-letter.consumer.ts';
import { startRetention } from './retention.ts';
import { ConsumerRuntime } from './runtime.ts';

const name = 'event-consumers';
const natsDrainMs = 2000;
const probeDeadlineMs = 2000;

const env = parseEnvironment(consumersEnvironmentSchema, process.env);
const log = createLogger({ process: name, level: env.LOG_LEVEL });
const tracing = await startTracing({
  process: name,
  env: process.env,
  onLoss: (err) => log.warn({ err }, 'spans are lost'),
});
const db = openDatabase({ url: env.DATABASE_URL, applicationName: name, max: env.DATABASE_POOL_MAX });
const redis = openRedis(env.REDIS_URL, name);
const temporal = openTemporal({
  address: env.TEMPORAL_ADDRESS,
  namespace: env.TEMPORAL_NAMESPACE,
  tls: env.TEMPORAL_TLS === 'true',
});
const notifier = createNotifier((channel, message) => redis.publish(channel, message));
const policies = createPolicyReader(db.q);
const nc = await connectNats({ url: env.NATS_URL, credsFile: env.NATS_CREDS_FILE, name });
watchPayloadBound(nc, maxEventBytes, (bounds) =>
  log.error(bounds, 'NATS refuses the largest dead letters: raise max_payload of its servers'),
);

const runtime = new ConsumerRuntime(
  {
    db,
    nc,
    log,
    subscriptions: allSubscriptions({
      db,
      temporal,
      notifications: { notifier, policies, publicUrl: env.PUBLIC_URL },
    }),
    writeDown: deadLetterDesk({
      db,
      policies,
      alertOperators: (tx, alert) => notifier.alertOperators(tx, alert),
    }),
    around: ({ traceparent, subject, consumer, eventId, correlationId }, run) => {
      const attributes = {
        'messaging.system': 'nats',
        'messaging.destination.name': subject,
        'messaging.message.id': eventId,
        'gpuaas.consumer': consumer,
        'gpuaas.correlation_id': correlationId,
      };
      return withRemoteParent(traceparent, { name: `consume ${subject}`, attributes }, run);
    },
    probeTarget: async () => {
      await temporal.withDeadline(Date.now() + probeDeadlineMs, () =>
        temporal.connection.workflowService.getSystemInfo({}),
      );
    },
  },
  {
    streams: { environment: env.GPUAAS_ENV, duplicateWindowMs: env.OUTBOX_DUPLICATE_WINDOW_MS },
    backoff: { baseMs: env.CONSUMERS_BACKOFF_BASE_MS, maxMs: env.CONSUMERS_BACKOFF_MAX_MS },
    slots: env.CONSUMERS_SLOTS,
  },
);
const metrics = await serveMetrics(runtime.metrics, () => runtime.isReady(), env.CONSUMERS_METRICS_PORT);
const retention = startRetention({ db, policies, log });

let ending = false;
async function end(signal: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.info({ signal }, 'event consumers end');
  try {
    await runtime.stop(env.CONSUMERS_DRAIN_MS);
    // A drain sends the last acknowledgements; without a server it would wait for the next connection.
    await Promise.race([nc.drain(), delay(natsDrainMs)]);
    await retention.stop();
    metrics.close();
    metrics.closeAllConnections();
    redis.disconnect();
    await temporal.connection.close();
    await db.close();
    await tracing.stop();
  } catch (error) {
    log.warn({ err: error }, 'event consumers ended uncleanly; what was in hand is delivered again');
    process.exit(1);
  }
  process.exit(0);
}
process.on('SIGTERM', (signal) => void end(signal));
process.on('SIGINT', (signal) => void end(signal));

await runtime.start();
log.info({ metrics: metrics.address(), durables: runtime.durables.length }, 'event consumers run');
