/**
 * One trace through every process. Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) is set: then the
 * functions below do nothing, no header is made and the columns `traceparent` stay null.
 */
import {
  context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
} from '@opentelemetry/api';
import { readTracingConfig } from '../../contracts/environment.tracing.api.ts';
import { formatTraceparent, parseTraceparent } from '../../contracts/trace.ts';
import type { Exporting } from './tracing-export.ts';

export interface TracingOptions {
  /** Name of the process, as `service.name` shows it. */
  readonly process: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told, at most once a minute, that spans are lost because the collector is away. */
  readonly onLoss?: (error: unknown) => void;
}

/** The tracing of one process. */
export interface Tracing {
  readonly enabled: boolean;
  /** Takes the spans that a workflow's sandbox hands out; undefined when nothing is traced. */
  readonly workflowSpans: Exporting['workflowSpans'] | undefined;
  /** Sends what is left, for at most two seconds, and ends. */
  stop(): Promise<void>;
}

let active = false;

/** True once this process traces. */
export const isTracing = (): boolean => active;

/**
 * Begins to trace as the environment says; once in a process, before clients and servers are made.
 * @throws Error that names a wrong variable.
 */
export async function startTracing(options: TracingOptions): Promise<Tracing> {
  const config = readTracingConfig(options.env);
  if (config === undefined)
    return { enabled: false, workflowSpans: undefined, stop: () => Promise.resolve() };
  // Loaded only where it is used: a process that traces nothing does not pay for the SDK.
  const { startExport } = await import('./tracing-export.ts');
  const exporting = startExport(config, options.process, options.onLoss ?? (() => undefined));
  active = true;
  return {
    enabled: true,
    workflowSpans: exporting.workflowSpans,
    stop: async () => {
      active = false;
      await exporting.stop();
    },
  };
}

const tracerName = 'gpuaas';

/** The context of a span of another process; undefined when the text is no valid `traceparent`. */
function remoteContext(traceparent: string | null | undefined): Context | undefined {
  const point = parseTraceparent(traceparent);
  return point === undefined ? undefined : trace.setSpanContext(ROOT_CONTEXT, { ...point, isRemote: true });
}

/** A span below one of another process. */
export interface RemoteSpan {
  readonly name: string;
  readonly attributes: Attributes;
  readonly kind?: 'producer' | 'consumer';
}

const kinds = { producer: SpanKind.PRODUCER, consumer: SpanKind.CONSUMER } as const;

/**
 * Runs the work in a span below that of `traceparent`; without a valid one the work runs in no span at all.
 * @throws whatever the work throws; the span then says that it failed, and of which kind the error is.
 */
export async function withRemoteParent<T>(
  traceparent: string | null | undefined,
  { name, attributes, kind = 'consumer' }: RemoteSpan,
  run: () => Promise<T>,
): Promise<T> {
  const parent = active ? remoteContext(traceparent) : undefined;
  if (parent === undefined) return run();
  const span = trace.getTracer(tracerName).startSpan(name, { kind: kinds[kind], attributes }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), run);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    span.setAttribute('error.type', error instanceof Error ? error.name : typeof error);
    throw error;
  } finally {
    span.end();
  }
}

/** The span that runs now, for the header of what it sends; undefined when nothing is traced. */
export function currentTraceparent(): string | undefined {
  const now = trace.getSpanContext(context.active());
  return now === undefined ? undefined : formatTraceparent(now);
}

/** What a log line says of the span in which it is written. */
export function traceFields(): Record<string, string> {
  const now = trace.getSpanContext(context.active());
  return now === undefined ? {} : { trace_id: now.traceId, span_id: now.spanId };
}
