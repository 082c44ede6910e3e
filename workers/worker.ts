/** What a worker process does, from its environment to its end. `main.ts` is its entry. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerInterceptors,
  type WorkflowBundleOption,
} from '@temporalio/worker';
import { probeTimeoutMs, watchDependencies } from '../activities/platform/dependencies.ts';
import { createLogger } from '../activities/platform/logging.ts';
import { openReplaySink } from '../activities/platform/nats-replays.ts';
import { openRedis } from '../activities/platform/redis.ts';
import { openTemporal } from '../activities/platform/temporal.ts';
import { activityInterceptors, workflowSinks } from '../activities/platform/tracing-temporal.ts';
import { startTracing, type Tracing } from '../activities/platform/tracing.ts';
import type { WorkerEnvironment } from '../contracts/environment.worker.api.ts';
import type { TaskQueue } from '../contracts/queues.ts';
import { openDatabase } from '../db/client.ts';
import { createPolicyReader } from '../db/ops/policy.store.ts';
import { buildWorkflowBundle } from './bundle.ts';
import { opsActivities, provisioningActivities } from './compose.ts';
import { createFigures, type Figures } from './reconcilers/figures.ts';
import { startLoop } from './reconcilers/loop.ts';
import { startMissingReplays } from './reconcilers/missing-replays.ts';
import { startMissingRuns } from './reconcilers/missing-runs.ts';
import { deliverCommands } from './reconcilers/undelivered-commands.ts';
import { completeStoredResults } from './reconcilers/task-completion.ts';

/** What a worker may still finish after it was told to stop. */
const shutdownGraceTime = '8 seconds';
/** The engine gives the workflow task of a dead worker to another after this instead of 10 s. */
const stickyQueueScheduleToStartTimeout = '1 second';
/** A missing run is noticed within this many turns of the reconcilers. */
const missingRunsEveryTurns = 5;
/** What the tables say is read anew within this many turns; about as often as it is scraped. */
const figuresEveryTurns = 5;
/** Servers are asked whether they work within as many turns, and never less often than this. */
const maxProbePauseMs = 10_000;

/** What whoever starts a worker may put around its work. */
export interface WorkerHooks {
  readonly interceptors?: WorkerInterceptors;
}

/**
 * Serves the queues of its environment until it is told to stop (SIGTERM, SIGINT); resolves when everything is closed.
 * Installs the engine's runtime: once in a process.
 * @throws when a server that it needs refuses it.
 */
export async function runWorker(env: WorkerEnvironment, hooks: WorkerHooks = {}): Promise<void> {
  const log = createLogger({ process: 'worker', level: env.LOG_LEVEL });
  installRuntime(env, log);
  const tracing = await startTracing({
    process: 'worker',
    env: process.env,
    onLoss: (err) => log.warn({ err }, 'spans are lost'),
  });
  const db = openDatabase({
    url: env.DATABASE_URL,
    applicationName: 'gpuaas-worker',
    max: env.DATABASE_POOL_MAX,
  });
  const redis = openRedis(env.REDIS_URL, 'gpuaas-worker');
  const client = openTemporal({
    address: env.TEMPORAL_ADDRESS,
    namespace: env.TEMPORAL_NAMESPACE,
    tls: env.TEMPORAL_TLS === 'true',
  });
  const replays = openReplaySink(env.NATS_URL, env.NATS_CREDS_FILE);
  const figures = createFigures(Runtime.instance().metricMeter);
  // Before the engine is waited for: its absence is told from the start.
  const dependencies = watchDependencies({
    probes: probesOf(env, { db, client, redis, replays }),
    everyMs: Math.min(env.RECONCILE_EVERY_MS * figuresEveryTurns, maxProbePauseMs),
    tell: (dependency, isUp) => figures.dependencyUp(dependency, isUp),
    log,
  });
  const connection = await connectWhenReady(env, log.warn.bind(log));
  const parts = { db, redis, policies: createPolicyReader(db.q), replays };
  const workflowBundle: WorkflowBundleOption =
    env.WORKFLOW_BUNDLE_FILE === undefined
      ? await buildWorkflowBundle()
      : { codePath: env.WORKFLOW_BUNDLE_FILE };
  const workers = await Promise.all(
    env.WORKER_QUEUES.map((queue) =>
      createWorker(queue, { env, connection, workflowBundle, parts, hooks, tracing }),
    ),
  );
  const loops = env.WORKER_QUEUES.flatMap((queue) =>
    reconcilersOf[queue]({ db, client, log, figures, everyMs: env.RECONCILE_EVERY_MS }),
  );
  log.info({ queues: env.WORKER_QUEUES }, 'worker ready');
  await Promise.all(workers.map((worker) => worker.run()));
  dependencies.stop();
  await Promise.all(loops.map((loop) => loop.stop()));
  await client.connection.close();
  await connection.close();
  await replays.close();
  await db.close();
  await tracing.stop();
  redis.disconnect();
}

interface Servers {
  readonly db: ReturnType<typeof openDatabase>;
  readonly client: Client;
  readonly redis: ReturnType<typeof openRedis>;
  readonly replays: ReturnType<typeof openReplaySink>;
}

/** How each server is asked whether it works. */
const probesOf = (env: WorkerEnvironment, { db, client, redis, replays }: Servers) => ({
  postgres: () => db.q.execute('select 1'),
  temporal: () =>
    client.withDeadline(Date.now() + probeTimeoutMs, () =>
      client.workflowService.describeNamespace({ namespace: env.TEMPORAL_NAMESPACE }),
    ),
  redis: () => redis.ping(),
  nats: () => replays.ping(),
});

function installRuntime(env: WorkerEnvironment, log: ReturnType<typeof createLogger>): void {
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
}

interface WorkerParts {
  readonly env: WorkerEnvironment;
  readonly connection: NativeConnection;
  readonly workflowBundle: WorkflowBundleOption;
  readonly parts: Parameters<typeof provisioningActivities>[0] & Parameters<typeof opsActivities>[0];
  readonly hooks: WorkerHooks;
  readonly tracing: Tracing;
}

const activitiesOf: Record<TaskQueue, (parts: WorkerParts['parts']) => object> = {
  provisioning: provisioningActivities,
  ops: opsActivities,
};

function createWorker(
  queue: TaskQueue,
  { env, connection, workflowBundle, parts, hooks, tracing }: WorkerParts,
): Promise<Worker> {
  return Worker.create({
    connection,
    namespace: env.TEMPORAL_NAMESPACE,
    taskQueue: queue,
    workflowBundle,
    activities: activitiesOf[queue](parts),
    interceptors: {
      ...hooks.interceptors,
      activity: [...activityInterceptors(tracing), ...(hooks.interceptors?.activity ?? [])],
    },
    sinks: workflowSinks(tracing),
    maxCachedWorkflows: env.WORKER_MAX_CACHED_WORKFLOWS,
    stickyQueueScheduleToStartTimeout,
    shutdownGraceTime,
    shutdownForceTime: '15 seconds',
    workflowTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
    activityTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
  });
}

interface ReconcilerParts {
  readonly db: ReturnType<typeof openDatabase>;
  readonly client: Client;
  readonly log: ReturnType<typeof createLogger>;
  readonly figures: Figures;
  readonly everyMs: number;
}

/** What looks for work that the normal path of a queue has lost. */
const reconcilersOf: Record<TaskQueue, (of: ReconcilerParts) => ReturnType<typeof startLoop>[]> = {
  provisioning: startProvisioningReconcilers,
  ops: ({ db, client, log, figures, everyMs }) => [
    startLoop({
      name: 'missing-replays',
      everyMs: everyMs * missingRunsEveryTurns,
      log,
      sweep: async () => {
        figures.repaired('missing-replays', await startMissingReplays({ db, client, log }));
      },
    }),
  ],
};

function startProvisioningReconcilers(of: ReconcilerParts) {
  const { db, client, log, figures, everyMs } = of;
  return [
    startLoop({
      name: 'task-completion',
      everyMs,
      log,
      sweep: async () => {
        figures.repaired('task-completion', await completeStoredResults(db, client));
      },
    }),
    startLoop({
      name: 'missing-runs',
      everyMs: everyMs * missingRunsEveryTurns,
      log,
      sweep: async () => {
        figures.repaired('missing-runs', await startMissingRuns({ db, client, log }));
      },
    }),
    startLoop({
      name: 'undelivered-commands',
      everyMs: everyMs * missingRunsEveryTurns,
      log,
      sweep: async () => {
        figures.repaired('undelivered-commands', await deliverCommands(db, client));
      },
    }),
    startLoop({
      name: 'figures',
      everyMs: everyMs * figuresEveryTurns,
      log,
      sweep: () => figures.read(db),
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
