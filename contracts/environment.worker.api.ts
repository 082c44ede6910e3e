import { z } from 'zod';
import { environmentName } from './environment.api.ts';
import { taskQueues } from './queues.ts';
import { defaultDuplicateWindowMs } from './streams.ts';

/** One address or several, with `user:password@` or `token@` before the host where NATS asks; special characters encoded. */
const natsUrl = z.string().min(1);
/** A file with the JWT and the seed of a NATS user, instead of credentials in the address. */
const natsCredsFile = z.string().min(1).optional();

/** Environment of a worker process. */
export const workerEnvironmentSchema = z
  .object({
    GPUAAS_ENV: environmentName,
    LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    DATABASE_URL: z.string().min(1),
    DATABASE_POOL_MAX: z.coerce.number().int().min(1).max(500).default(20),
    REDIS_URL: z.string().min(1),
    /** Of the queue `ops` alone; may be away. */
    NATS_URL: natsUrl,
    NATS_CREDS_FILE: natsCredsFile,
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

const durationMs = z.coerce.number().int().positive();
const metricsPort = z.coerce.number().int().min(0).max(65_535).default(0);
const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info');
/** How long JetStream remembers a message id; the same for every process of an installation. */
const duplicateWindowMs = durationMs.default(defaultDuplicateWindowMs);

/** Environment of an outbox relay. */
export const relayEnvironmentSchema = z
  .object({
    GPUAAS_ENV: environmentName,
    LOG_LEVEL: logLevel,
    DATABASE_URL: z.string().min(1),
    NATS_URL: natsUrl,
    NATS_CREDS_FILE: natsCredsFile,
    REDIS_URL: z.string().min(1),
    /** Of the Prometheus endpoint on loopback; 0 takes any free port. */
    OUTBOX_METRICS_PORT: metricsPort,
    OUTBOX_LEASE_MS: durationMs.default(3000),
    OUTBOX_SWEEP_MS: durationMs.default(500),
    OUTBOX_DUPLICATE_WINDOW_MS: duplicateWindowMs,
  })
  .readonly();

/** Environment of the event consumers, and of the command that reconciles streams and consumers. */
export const consumersEnvironmentSchema = z
  .object({
    GPUAAS_ENV: environmentName,
    LOG_LEVEL: logLevel,
    DATABASE_URL: z.string().min(1),
    DATABASE_POOL_MAX: z.coerce.number().int().min(1).max(500).default(10),
    NATS_URL: natsUrl,
    NATS_CREDS_FILE: natsCredsFile,
    REDIS_URL: z.string().min(1),
    TEMPORAL_ADDRESS: z.string().min(1),
    TEMPORAL_NAMESPACE: z.string().min(1).default('gpuaas'),
    TEMPORAL_TLS: z.enum(['true', 'false']).default('false'),
    OUTBOX_DUPLICATE_WINDOW_MS: duplicateWindowMs,
    /** Of the Prometheus endpoint on loopback; 0 takes any free port. */
    CONSUMERS_METRICS_PORT: metricsPort,
    /** Pause after the first failed delivery; doubles up to the maximum. */
    CONSUMERS_BACKOFF_BASE_MS: durationMs.default(500),
    CONSUMERS_BACKOFF_MAX_MS: durationMs.default(60_000),
    /** What running handlers may still take after SIGTERM. */
    CONSUMERS_DRAIN_MS: durationMs.default(8000),
    /** Base address of the user interface, for the links of notifications; without it they have none. */
    PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
    /** Messages of one subject that this process works on at once. */
    CONSUMERS_SLOTS: z.coerce.number().int().min(1).max(256).default(16),
  })
  .readonly();
