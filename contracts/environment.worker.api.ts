import { z } from 'zod';
import { environmentName } from './environment.api.ts';
import { taskQueues } from './queues.ts';

/** Environment of a worker process. */
export const workerEnvironmentSchema = z
  .object({
    GPUAAS_ENV: environmentName,
    LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    DATABASE_URL: z.string().min(1),
    DATABASE_POOL_MAX: z.coerce.number().int().min(1).max(500).default(20),
    REDIS_URL: z.string().min(1),
    TEMPORAL_ADDRESS: z.string().min(1),
    TEMPORAL_NAMESPACE: z.string().min(1).default('gpuaas'),
    TEMPORAL_TLS: z.enum(['true', 'false']).default('false'),
    /** Queues that this process serves, separated by commas; all of them when not set. */
    WORKER_QUEUES: z
      .string()
      .default(Object.values(taskQueues).join(','))
      .transform((text) => text.split(','))
      .pipe(z.array(z.enum(taskQueues)).min(1)),
    /** Runs kept in memory per queue; about 0.2 MB each. */
    WORKER_MAX_CACHED_WORKFLOWS: z.coerce.number().int().min(0).max(100_000).default(3000),
    /** Prebuilt bundle; built at start when not set. */
    WORKFLOW_BUNDLE_FILE: z.string().min(1).optional(),
    /** Address of the worker's Prometheus endpoint; none when not set. */
    WORKER_METRICS_ADDRESS: z.string().min(1).optional(),
    /** How often the reconcilers look for work that the normal path lost. */
    RECONCILE_EVERY_MS: z.coerce.number().int().min(100).max(600_000).default(2000),
  })
  .readonly();

export type WorkerEnvironment = z.infer<typeof workerEnvironmentSchema>;
