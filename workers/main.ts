/**
 * A worker process: every task queue in one process for local use, one queue each in production (`WORKER_QUEUES`). The
 * provisioning queue brings its reconcilers along.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkflowBundleOption,
} from '@temporalio/worker';
import { createLogger } from '../activities/platform/logging.ts';
import { openRedis } from '../activities/platform/redis.ts';
import { openTemporal } from '../activities/platform/temporal.ts';
import { parseEnvironment } from '../contracts/environment.api.ts';
import { workerEnvironmentSchema, type WorkerEnvironment } from '../contracts/environment.worker.api.ts';
import { taskQueues, type TaskQueue } from '../contracts/queues.ts';
import { openDatabase } from '../db/client.ts';
import { createPolicyReader } from '../db/ops/policy.store.ts';
import { buildWorkflowBundle } from './bundle.ts';
import { provisioningActivities } from './compose.ts';
import { startLoop } from './reconcilers/loop.ts';
import { startMissingRuns } from './reconcilers/missing-runs.ts';
import { deliverCommands } from './reconcilers/undelivered-commands.ts';
import { completeStoredResults } from './reconcilers/task-completion.ts';

/** What a worker may still finish after it was told to stop. */
const shutdownGraceTime = '8 seconds';
/** The engine gives the workflow task of a dead worker to another after this instead of 10 s. */
const stickyQueueScheduleToStartTimeout = '1 second';
/** A missing run is noticed within this many turns of the reconcilers. */
const missingRunsEveryTurns = 5;

async function main(): Promise<void> {
  const env = parseEnvironment(workerEnvironmentSchema, process.env);
  const log = createLogger({ process: 'worker', level: env.LOG_LEVEL });
  Runtime.install({
    shutdownSignals: ['SIGTERM', 'SIGINT'],
    telemetryOptions: {
      logging: { filter: { core: 'WARN', other: 'WARN' }, forward: {} },
      ...(env.WORKER_METRICS_ADDRESS === undefined
        ? {}
        : {
            metrics: {
              prometheus: {
                bindAddress: env.WORKER_METRICS_ADDRESS,
                countersTotalSuffix: true,
                unitSuffix: true,
                useSecondsForDurations: true,
              },
            },
          }),
    },
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => {
      if (level === 'ERROR') log.error({ meta }, message);
      else log.warn({ meta }, message);
    }),
  });
  const db = openDatabase({
    url: env.DATABASE_URL,
    applicationName: 'gpuaas-worker',
    max: env.DATABASE_POOL_MAX,
  });
  const redis = openRedis(env.REDIS_URL, 'gpuaas-worker');
  const connection = await connectWhenReady(env, log.warn.bind(log));
  const client = openTemporal({
    address: env.TEMPORAL_ADDRESS,
    namespace: env.TEMPORAL_NAMESPACE,
    tls: env.TEMPORAL_TLS === 'true',
  });
  const parts = { db, redis, policies: createPolicyReader(db.q) };
  const workflowBundle: WorkflowBundleOption =
    env.WORKFLOW_BUNDLE_FILE === undefined
      ? await buildWorkflowBundle()
      : { codePath: env.WORKFLOW_BUNDLE_FILE };
  const workers = await Promise.all(
    env.WORKER_QUEUES.map((queue) => createWorker(queue, { env, connection, workflowBundle, parts })),
  );
  const loops = env.WORKER_QUEUES.includes(taskQueues.provisioning)
    ? startReconcilers({ db, client, log, everyMs: env.RECONCILE_EVERY_MS })
    : [];
  log.info({ queues: env.WORKER_QUEUES }, 'worker ready');
  await Promise.all(workers.map((worker) => worker.run()));
  await Promise.all(loops.map((loop) => loop.stop()));
  await client.connection.close();
  await connection.close();
  await db.close();
  redis.disconnect();
  process.exit(0);
}

interface WorkerParts {
  readonly env: WorkerEnvironment;
  readonly connection: NativeConnection;
  readonly workflowBundle: WorkflowBundleOption;
  readonly parts: Parameters<typeof provisioningActivities>[0];
}

const activitiesOf: Record<TaskQueue, (parts: WorkerParts['parts']) => object> = {
  provisioning: provisioningActivities,
};

function createWorker(
  queue: TaskQueue,
  { env, connection, workflowBundle, parts }: WorkerParts,
): Promise<Worker> {
  return Worker.create({
    connection,
    namespace: env.TEMPORAL_NAMESPACE,
    taskQueue: queue,
    workflowBundle,
    activities: activitiesOf[queue](parts),
    maxCachedWorkflows: env.WORKER_MAX_CACHED_WORKFLOWS,
    stickyQueueScheduleToStartTimeout,
    shutdownGraceTime,
    shutdownForceTime: '15 seconds',
    workflowTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
    activityTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
  });
}

function startReconcilers(of: {
  db: ReturnType<typeof openDatabase>;
  client: Client;
  log: ReturnType<typeof createLogger>;
  everyMs: number;
}) {
  const { db, client, log, everyMs } = of;
  return [
    startLoop({
      name: 'task-completion',
      everyMs,
      log,
      sweep: async () => {
        await completeStoredResults(db, client);
      },
    }),
    startLoop({
      name: 'missing-runs',
      everyMs: everyMs * missingRunsEveryTurns,
      log,
      sweep: async () => {
        await startMissingRuns({ db, client, log });
      },
    }),
    startLoop({
      name: 'undelivered-commands',
      everyMs: everyMs * missingRunsEveryTurns,
      log,
      sweep: async () => {
        await deliverCommands(db, client);
      },
    }),
  ];
}

/** Pause between two tries to reach the engine. */
const connectRetryMs = 500;

/** The engine may come up after the worker: tries until it answers. Until then a signal ends the process at once. */
async function connectWhenReady(
  env: WorkerEnvironment,
  warn: (fields: object, message: string) => void,
): Promise<NativeConnection> {
  const leave = () => process.exit(0);
  process.once('SIGTERM', leave).once('SIGINT', leave);
  for (;;) {
    try {
      const connection = await NativeConnection.connect({
        address: env.TEMPORAL_ADDRESS,
        ...(env.TEMPORAL_TLS === 'true' ? { tls: true } : {}),
      });
      process.off('SIGTERM', leave).off('SIGINT', leave);
      return connection;
    } catch (error) {
      warn({ error: error instanceof Error ? error.message : 'unknown' }, 'the engine is not there yet');
      await delay(connectRetryMs);
    }
  }
}

await main();
