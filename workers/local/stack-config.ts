import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';

/** Linux gives ports from here up to outgoing connections. */
const EPHEMERAL_PORTS_START = 32_768;

const port = z
  .int()
  .min(1024)
  .max(EPHEMERAL_PORTS_START - 1);
const version = z.string().regex(/^\d+(\.\d+){0,2}(-[0-9A-Za-z.]+)?$/);
const partVersions = z.strictObject({ pinned: version, minimum: version });
const dynamicConfig = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

const stackConfigSchema = z.strictObject({
  ports: z
    .strictObject({
      api: port,
      internal: port,
      issuer: port,
      temporal: port,
      temporal_http: port,
      temporal_metrics: port,
      temporal_ui: port,
      nats: port,
      nats_monitor: port,
      redis: port,
      postgres: port,
    })
    .refine((ports) => new Set(Object.values(ports)).size === Object.keys(ports).length, {
      error: 'two entries share a port',
    }),
  versions: z.strictObject({
    postgres: partVersions,
    temporal: partVersions,
    nats: partVersions,
    redis: partVersions,
  }),
  temporal: z.strictObject({
    namespace: z.string().regex(/^[a-z][a-z0-9-]*$/),
    retention: z.string().regex(/^[1-9]\d*h$/, 'whole hours, such as 72h'),
    search_attributes: z
      .record(
        z.string().regex(/^[A-Z][A-Za-z0-9]*$/),
        z.enum(['Keyword', 'KeywordList', 'Text', 'Int', 'Double', 'Bool', 'Datetime']),
      )
      .refine((attributes) => Object.keys(attributes).length <= 10, { error: 'at most ten' }),
    task_queues: z.array(z.string().regex(/^[a-z][a-z-]*$/)).min(1),
    sqlite_pragmas: z.record(z.string(), z.string()),
    log_level: z.enum(['debug', 'info', 'warn', 'error', 'never']),
    dynamic_config: dynamicConfig,
    test_dynamic_config: dynamicConfig,
  }),
});

/** The validated content of temporal-dev.yaml. */
export type StackConfig = z.infer<typeof stackConfigSchema>;

/** The type names of Temporal search attributes. */
export type SearchAttributeType = StackConfig['temporal']['search_attributes'][string];

/** The top folder of this checkout, absolute. */
export const checkoutRoot: string = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * Reads temporal-dev.yaml.
 * @param file another file of the same shape; the checkout's own by default.
 * @throws Error naming the file and every field that is wrong.
 */
export function loadStackConfig(file: string = path.join(checkoutRoot, 'temporal-dev.yaml')): StackConfig {
  const parsed = stackConfigSchema.safeParse(parse(readFileSync(file, 'utf8')));
  if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Seconds of a retention such as `72h`. */
export function retentionSeconds(config: StackConfig): number {
  return Number.parseInt(config.temporal.retention, 10) * 3600;
}
