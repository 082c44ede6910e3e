import { z } from 'zod';
import { parseEnvironment } from './environment.api.ts';

const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/** `name=value,name=value`, percent-encoded, as OpenTelemetry defines it. */
const headerList = z
  .string()
  .regex(/^\s*[^=,\s]+\s*=[^,]*(,\s*[^=,\s]+\s*=[^,]*)*$/)
  .transform((text) =>
    Object.fromEntries(
      text.split(',').map((pair) => {
        const at = pair.indexOf('=');
        return [pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim())];
      }),
    ),
  );

/** Names and meanings are OpenTelemetry's own; every process reads the same. Without an endpoint nothing is traced. */
const tracingEnvironmentSchema = z
  .object({
    /** Base address of a collector that takes OTLP over HTTP; `/v1/traces` is added. */
    OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
    /** Whole address for traces; wins over the base address. */
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
    /** Sent with every export, for a collector that asks who calls. */
    OTEL_EXPORTER_OTLP_HEADERS: headerList.optional(),
    OTEL_TRACES_SAMPLER: z.enum(samplers).default('parentbased_always_on'),
    /** Share of the traces, for the two samplers by ratio. */
    OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
    OTEL_SDK_DISABLED: z.enum(['true', 'false']).default('false'),
  })
  .readonly();

/** Where and how much a process traces. */
export interface TracingConfig {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly sampler: (typeof samplers)[number];
  /** From 0 to 1. */
  readonly ratio: number;
}

/**
 * Reads how to trace; undefined when nothing is to be traced.
 * @throws Error that names every wrong variable and none of the values.
 */
export function readTracingConfig(
  variables: Readonly<Record<string, string | undefined>>,
): TracingConfig | undefined {
  const env = parseEnvironment(tracingEnvironmentSchema, variables);
  if (env.OTEL_SDK_DISABLED === 'true') return undefined;
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/+$/, '');
  const url =
    env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base === undefined ? undefined : `${base}/v1/traces`);
  if (url === undefined) return undefined;
  return {
    url,
    headers: env.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    sampler: env.OTEL_TRACES_SAMPLER,
    ratio: env.OTEL_TRACES_SAMPLER_ARG,
  };
}
