/** The background processes of the product, inside the test's own process. */
import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
  type WorkflowBundle,
} from '@temporalio/worker';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { connectNats, reconcileStreams } from '../../activities/platform/nats.ts';
import { openReplaySink } from '../../activities/platform/nats-replays.ts';
import { subscribeWake } from '../../activities/platform/redis-wake.ts';
import type { TaskQueue } from '../../contracts/queues.ts';
import { defaultDuplicateWindowMs } from '../../contracts/streams.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import type { PolicyReader } from '../../db/ops/policy.store.ts';
import { outboxPartitionCount } from '../../db/outbox.ts';
import { buildWorkflowBundle } from '../../workers/bundle.ts';
import { opsActivities, provisioningActivities } from '../../workers/compose.ts';
import type { Stack } from '../../workers/local/stack.ts';
import { startLoop } from '../../workers/reconcilers/loop.ts';
import { startMissingReplays } from '../../workers/reconcilers/missing-replays.ts';
import { startMissingRuns } from '../../workers/reconcilers/missing-runs.ts';
import { completeStoredResults } from '../../workers/reconcilers/task-completion.ts';
import { JetStreamSink, NatsPeers } from '../../workers/relay/jetstream.ts';
import { Relay } from '../../workers/relay/relay.ts';
import { faultInterceptor } from './fault-interceptor.ts';
import type { FaultPlan } from './faults.ts';

export interface Stoppable {
  stop(): Promise<void>;
}

const completionEveryMs = 250;
const missingRunsEveryMs = 1000;
/** Age from which a request is taken for lost. */
const replayAgeSeconds = 1;

let bundle: Promise<WorkflowBundle> | undefined;
let installed = false;

/** The bundle of the current workflows, built once in a process. */
export const currentBundle = (): Promise<WorkflowBundle> => (bundle ??= buildWorkflowBundle());

function installRuntime(): void {
  if (installed) return;
  installed = true;
  Runtime.install({
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
    // Injected faults are warnings of the engine's client; only what it calls an error is a test's business.
    logger: new DefaultLogger('ERROR'),
  });
}

const cannotDie = (): Promise<never> =>
  Promise.reject(new Error('only a worker in a process of its own can be killed'));

/** Workers and reconcilers of every queue. */
export async function startWorkerInProcess(parts: {
  readonly stack: Stack;
  readonly db: Database;
  readonly redis: Redis;
  readonly policies: PolicyReader;
  readonly faults: FaultPlan;
  readonly temporal: Client;
}): Promise<Stoppable> {
  installRuntime();
  const { stack, db, redis, policies, faults, temporal: client } = parts;
  const connection = await NativeConnection.connect({ address: stack.env['TEMPORAL_ADDRESS'] ?? '' });
  const replays = openReplaySink(stack.env['NATS_URL'] ?? '');
  const activitiesOf: Record<TaskQueue, object> = {
    provisioning: provisioningActivities({ db, redis, policies }),
    ops: opsActivities({ db, replays }),
  };
  const common = {
    connection,
    namespace: stack.env['TEMPORAL_NAMESPACE'] ?? '',
    workflowBundle: await currentBundle(),
    interceptors: { activity: [faultInterceptor(faults.link(), cannotDie)] },
    stickyQueueScheduleToStartTimeout: '1 second',
    shutdownGraceTime: '1 second',
    shutdownForceTime: '3 seconds',
    maxConcurrentLocalActivityExecutions: 500,
    workflowTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
    activityTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
  } satisfies Omit<WorkerOptions, 'taskQueue'>;
  const workers = await Promise.all(
    Object.entries(activitiesOf).map(([taskQueue, activities]) =>
      Worker.create({ ...common, taskQueue, activities }),
    ),
  );
  // One that fails before it is stopped is told here; what waits for it says what it waited for.
  const running = workers.map((worker) =>
    worker.run().catch((error: unknown) => console.error('a worker of the lab failed', error)),
  );
  const log = pino({ level: 'silent' });
  const loops = [
    startLoop({
      name: 'task-completion',
      everyMs: completionEveryMs,
      log,
      sweep: async () => void (await completeStoredResults(db, client)),
    }),
    startLoop({
      name: 'missing-runs',
      everyMs: missingRunsEveryMs,
      log,
      sweep: async () => void (await startMissingRuns({ db, client, log })),
    }),
    startLoop({
      name: 'missing-replays',
      everyMs: missingRunsEveryMs,
      log,
      sweep: async () => void (await startMissingReplays({ db, client, log }, replayAgeSeconds)),
    }),
  ];
  return {
    stop: async () => {
      await Promise.all(loops.map((loop) => loop.stop()));
      for (const worker of workers) worker.shutdown();
      // A fault that still holds an activity makes the shutdown a forced one.
      await Promise.all(running);
      await connection.close();
      await replays.close();
    },
  };
}

/** A relay with connections of its own. */
export async function startRelayInProcess(stack: Stack): Promise<Stoppable> {
  const env = (name: string): string => stack.env[name] ?? '';
  const db = openDatabase({ url: env('DATABASE_URL'), applicationName: 'lab-relay', max: 5 });
  const nc = await connectNats({ url: env('NATS_URL'), name: 'lab-relay' });
  const duplicateWindowMs = defaultDuplicateWindowMs;
  await reconcileStreams(nc, { environment: 'test', duplicateWindowMs });
  const sink = new JetStreamSink(nc);
  const relay = new Relay(
    { db, sink, peers: new NatsPeers(nc, sink), log: { info: () => undefined, warn: () => undefined } },
    { owner: randomUUID(), partitionCount: outboxPartitionCount, duplicateWindowMs, leaseMs: 3000 },
  );
  relay.start();
  const wakeUps = subscribeWake(env('REDIS_URL'), (partitions) => relay.wake(partitions));
  return {
    stop: async () => {
      await relay.stop();
      wakeUps.close();
      await nc.close();
      await db.close();
    },
  };
}
