import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { createLogger } from '../../activities/platform/logging.ts';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { subscribeWake } from '../../activities/platform/redis-wake.ts';
import { environmentName } from '../../contracts/environment.api.ts';
import { defaultDuplicateWindowMs } from '../../contracts/streams.ts';
import { openDatabase } from '../../db/client.ts';
import { outboxPartitionCount } from '../../db/outbox.ts';
import { JetStreamSink, NatsPeers } from './jetstream.ts';
import { serveMetrics } from './metrics.ts';
import { Relay } from './relay.ts';

const streamsRetryMs = 1000;
const drainMs = 2000;
const duration = z.coerce.number().int().positive();

const environment = z.object({
  DATABASE_URL: z.string().min(1),
  NATS_URL: z.string().min(1),
  REDIS_URL: z.string().min(1),
  GPUAAS_ENV: environmentName,
  /** 0 takes any free port. */
  OUTBOX_METRICS_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  OUTBOX_LEASE_MS: duration.default(3000),
  OUTBOX_SWEEP_MS: duration.default(500),
  OUTBOX_DUPLICATE_WINDOW_MS: duration.default(defaultDuplicateWindowMs),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

const parsed = environment.safeParse(process.env);
if (!parsed.success) {
  process.stderr.write(`outbox-relay: ${z.prettifyError(parsed.error)}\n`);
  process.exit(78);
}
const env = parsed.data;
const log = createLogger({ process: 'outbox-relay', level: env.LOG_LEVEL });
const duplicateWindowMs = env.OUTBOX_DUPLICATE_WINDOW_MS;

const db = openDatabase({ url: env.DATABASE_URL, applicationName: 'outbox-relay', max: 5 });
const nc = await connectNats({ url: env.NATS_URL, name: 'outbox-relay' });
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

let ending = false;
async function end(signal: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.info({ signal }, 'outbox relay ends');
  try {
    await relay.stop();
    wakeUps.close();
    metrics.close();
    metrics.closeAllConnections();
    // A drain waits for an answer, which a server that is away gives only after the next connection.
    await (sink.isUp() ? Promise.race([nc.drain(), delay(drainMs)]) : nc.close());
    await db.close();
  } catch (error) {
    log.warn({ err: error }, 'outbox relay ended uncleanly; its leases run out by themselves');
    process.exit(1);
  }
  process.exit(0);
}
process.on('SIGTERM', (signal) => void end(signal));
process.on('SIGINT', (signal) => void end(signal));
