import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { createLogger } from '../../activities/platform/logging.ts';
import { connectNats, reconcileStreams, watchPayloadBound } from '../../activities/platform/nats.ts';
import { subscribeWake } from '../../activities/platform/redis-wake.ts';
import { startTracing } from '../../activities/platform/tracing.ts';
import { relayEnvironmentSchema } from '../../contracts/environment.worker.api.ts';
import { openDatabase } from '../../db/client.ts';
import { maxEventBytes, outboxPartitionCount } from '../../db/outbox.ts';
import { JetStreamSink, NatsPeers } from './jetstream.ts';
import { serveMetrics } from './metrics.ts';
import { Relay } from './relay.ts';

const streamsRetryMs = 1000;
const streamsWatchMs = 2000;
const drainMs = 2000;
const parsed = relayEnvironmentSchema.safeParse(process.env);
if (!parsed.success) {
  process.stderr.write(`outbox-relay: ${z.prettifyError(parsed.error)}\n`);
  process.exit(78);
}
const env = parsed.data;
const log = createLogger({ process: 'outbox-relay', level: env.LOG_LEVEL });
const duplicateWindowMs = env.OUTBOX_DUPLICATE_WINDOW_MS;
const tracing = await startTracing({
  process: 'outbox-relay',
  env: process.env,
  onLoss: (err) => log.warn({ err }, 'spans are lost'),
});

const db = openDatabase({ url: env.DATABASE_URL, applicationName: 'outbox-relay', max: 5 });
const nc = await connectNats({ url: env.NATS_URL, credsFile: env.NATS_CREDS_FILE, name: 'outbox-relay' });
watchPayloadBound(nc, maxEventBytes, (bounds) =>
  log.error(bounds, 'NATS refuses the largest events: raise max_payload of its servers'),
);
await prepareStreams();

const sink = new JetStreamSink(nc);
const relay = new Relay(
  { db, sink, peers: new NatsPeers(nc, sink), log },
  {
    owner: randomUUID(),
    partitionCount: outboxPartitionCount,
    duplicateWindowMs,
    leaseMs: env.OUTBOX_LEASE_MS,
    sweepMs: env.OUTBOX_SWEEP_MS,
  },
);
const metrics = await serveMetrics(relay, db, env.OUTBOX_METRICS_PORT);
const wakeUps = subscribeWake(env.REDIS_URL, (partitions) => relay.wake(partitions));
const watch = watchStreams();
relay.start();
log.info({ metrics: metrics.address() }, 'outbox relay runs');

/** JetStream answers a little later than NATS, and may be away for long: tried until it works. */
async function prepareStreams(): Promise<void> {
  for (;;) {
    try {
      for (const report of await reconcileStreams(nc, {
        environment: env.GPUAAS_ENV,
        duplicateWindowMs,
      })) {
        log.info({ ...report }, 'stream reconciled');
      }
      return;
    } catch (error) {
      log.warn({ err: error }, 'streams cannot be reconciled yet');
      await delay(streamsRetryMs);
    }
  }
}

/** Publishes that fail may find no stream: somebody deleted it. Then it is made again, empty. */
function watchStreams(): NodeJS.Timeout {
  let { failures } = relay.counters;
  let preparing = false;
  return setInterval(() => {
    const before = failures;
    ({ failures } = relay.counters);
    if (failures === before || preparing || !sink.isUp()) return;
    preparing = true;
    void prepareStreams().finally(() => (preparing = false));
  }, streamsWatchMs);
}

let ending = false;
async function end(signal: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.info({ signal }, 'outbox relay ends');
  try {
    clearInterval(watch);
    await relay.stop();
    wakeUps.close();
    metrics.close();
    metrics.closeAllConnections();
    // A drain waits for an answer, which a server that is away gives only after the next connection.
    await (sink.isUp() ? Promise.race([nc.drain(), delay(drainMs)]) : nc.close());
    await db.close();
    await tracing.stop();
  } catch (error) {
    log.warn({ err: error }, 'outbox relay ended uncleanly; its leases run out by themselves');
    process.exit(1);
  }
  process.exit(0);
}
process.on('SIGTERM', (signal) => void end(signal));
process.on('SIGINT', (signal) => void end(signal));
