/** The worker of R0 and R1: a process of its own with the settings of the product's worker. */
import path from 'node:path';
import { NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { z } from 'zod';
import { openRedis } from '../../activities/platform/redis.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { checkoutRoot } from '../../workers/local/stack-config.ts';
import { createRawActivities } from './raw-activities.ts';

const env = z
  .object({
    TEMPORAL_ADDRESS: z.string(),
    TEMPORAL_NAMESPACE: z.string(),
    REDIS_URL: z.string(),
    RAW_TASK_QUEUE: z.string(),
    /** Module that exports the raw workflows with their shape built in. */
    RAW_WORKFLOWS_FILE: z.string(),
  })
  .parse(process.env);

Runtime.install({ shutdownSignals: ['SIGTERM', 'SIGINT'] });
const connection = await NativeConnection.connect({ address: env.TEMPORAL_ADDRESS });
const client = openTemporal({ address: env.TEMPORAL_ADDRESS, namespace: env.TEMPORAL_NAMESPACE });
const redis = openRedis(env.REDIS_URL, 'bench-raw-worker');
const worker = await Worker.create({
  connection,
  namespace: env.TEMPORAL_NAMESPACE,
  taskQueue: env.RAW_TASK_QUEUE,
  workflowBundle: await bundleWorkflowCode({
    workflowsPath: env.RAW_WORKFLOWS_FILE,
    // The module with the shape lies outside of the checkout, its packages inside.
    webpackConfigHook: (config) => {
      const modules = [...(config.resolve?.modules ?? []), path.join(checkoutRoot, 'node_modules')];
      return { ...config, resolve: { ...config.resolve, modules } };
    },
  }),
  activities: createRawActivities(client, redis),
  maxCachedWorkflows: 3000,
  stickyQueueScheduleToStartTimeout: '1 second',
  shutdownGraceTime: '2 seconds',
  workflowTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
  activityTaskPollerBehavior: { type: 'autoscaling', initial: 4, minimum: 2, maximum: 20 },
});
process.stdout.write('ready: raw worker\n');
await worker.run();
redis.disconnect();
await client.connection.close();
await connection.close();
process.exit(0);
