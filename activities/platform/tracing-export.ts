/** Spans on their way out of a process: sampled, cleaned, batched. Loaded only where something is traced. */
import { SpanKind, SpanStatusCode, type Attributes } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { setGlobalErrorHandler, W3CTraceContextPropagator, type ExportResult } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { Resource } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base';
import type { TracingConfig } from '../../contracts/environment.tracing.api.ts';
import { isSampled, type WorkflowSpan } from '../../contracts/trace.ts';
import { sanitiseText } from './sanitise.ts';

export interface Exporting {
  /** Takes spans that a workflow's sandbox made; ended when they come. */
  workflowSpans(spans: readonly WorkflowSpan[]): void;
  stop(): Promise<void>;
}

/** What waits for the collector; what comes on top is dropped, so that a collector that is away costs nothing else. */
const maxQueuedSpans = 4096;
const maxBatchedSpans = 512;
const sendEveryMs = 1000;
const sendTimeoutMs = 2000;
const stopTimeoutMs = 2000;
const lossReportEveryMs = 60_000;
const maxAttributeChars = 256;

/** The only attributes that leave a process; each says what happened, none of them who or with which secret. */
const exported = new Set([
  'http.request.method',
  'http.route',
  'http.response.status_code',
  'error.type',
  'gpuaas.operation',
  'gpuaas.listener',
  'gpuaas.correlation_id',
  'gpuaas.error_code',
  'gpuaas.consumer',
  'gpuaas.outcome',
  'messaging.system',
  'messaging.destination.name',
  'messaging.message.id',
  'temporalWorkflowId',
  'temporalActivityId',
  'temporalUpdateId',
  'run_id',
]);

export function cleanAttributes(attributes: Attributes): Attributes {
  const kept = Object.entries(attributes).filter(([key]) => exported.has(key));
  return Object.fromEntries(
    kept.map(([key, value]) => [
      key,
      typeof value === 'string' ? sanitiseText(value).slice(0, maxAttributeChars) : value,
    ]),
  );
}

/** An error is told by its kind alone: the text of a failed query carries its values, and a stack repeats the text. */
const cleaned = (span: ReadableSpan): ReadableSpan => ({
  name: sanitiseText(span.name).slice(0, maxAttributeChars),
  kind: span.kind,
  spanContext: () => span.spanContext(),
  ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
  startTime: span.startTime,
  endTime: span.endTime,
  duration: span.duration,
  ended: span.ended,
  status: { code: span.status.code },
  attributes: cleanAttributes(span.attributes),
  links: span.links.map(({ context }) => ({ context })),
  events: span.events.map(({ name, time, attributes }) => {
    const type = attributes?.['exception.type'];
    return { name, time, ...(typeof type === 'string' ? { attributes: { 'exception.type': type } } : {}) };
  }),
  resource: span.resource,
  instrumentationLibrary: span.instrumentationLibrary,
  droppedAttributesCount: span.droppedAttributesCount,
  droppedEventsCount: span.droppedEventsCount,
  droppedLinksCount: span.droppedLinksCount,
});

class CleanExporter implements SpanExporter {
  readonly #next: SpanExporter;

  constructor(next: SpanExporter) {
    this.#next = next;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#next.export(spans.map(cleaned), done);
  }

  shutdown(): Promise<void> {
    return this.#next.shutdown();
  }
}

function samplerOf({ sampler, ratio }: TracingConfig): Sampler {
  const roots = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  switch (sampler) {
    case 'always_on':
    case 'always_off':
    case 'traceidratio':
      return roots[sampler]();
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: roots.always_on() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: roots.always_off() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: roots.traceidratio() });
  }
}

/** Installs the provider of this process and begins to send. */
export function startExport(
  config: TracingConfig,
  process: string,
  onLoss: (error: unknown) => void,
): Exporting {
  let lastLossAt = -Infinity;
  const tell = (error: unknown): void => {
    if (performance.now() - lastLossAt < lossReportEveryMs) return;
    lastLossAt = performance.now();
    onLoss(error);
  };
  setGlobalErrorHandler(tell);
  const resource = new Resource({ 'service.name': process, 'service.namespace': 'gpuaas' });
  const sender = new OTLPTraceExporter({
    url: config.url,
    headers: { ...config.headers },
    timeoutMillis: sendTimeoutMs,
    concurrencyLimit: 2,
  });
  const processor = new BatchSpanProcessor(new CleanExporter(sender), {
    maxQueueSize: maxQueuedSpans,
    maxExportBatchSize: maxBatchedSpans,
    scheduledDelayMillis: sendEveryMs,
    exportTimeoutMillis: sendTimeoutMs,
  });
  const provider = new BasicTracerProvider({
    resource,
    sampler: samplerOf(config),
    spanProcessors: [processor],
  });
  provider.register({
    contextManager: new AsyncLocalStorageContextManager().enable(),
    propagator: new W3CTraceContextPropagator(),
  });
  return {
    workflowSpans: (spans) => {
      for (const span of spans) if (isSampled(span)) processor.onEnd(readable(span, resource));
    },
    stop: async () => {
      const timer = new AbortController();
      const late = new Promise<void>((resolve) => {
        const timeout = setTimeout(resolve, stopTimeoutMs);
        timer.signal.addEventListener('abort', () => clearTimeout(timeout));
      });
      await Promise.race([provider.shutdown().catch(tell), late]);
      timer.abort();
    },
  };
}

type Moment = [seconds: number, nanoseconds: number];
const moment = (ms: number): Moment => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];

/** It ends when it leaves the sandbox, at the end of its workflow task: a run of weeks holds no span open. */
function readable(span: WorkflowSpan, resource: Resource): ReadableSpan {
  const endedAtMs = Math.max(Date.now(), span.startedAtMs);
  const { traceId, spanId, traceFlags } = span;
  return {
    name: span.name,
    kind: SpanKind.INTERNAL,
    spanContext: () => ({ traceId, spanId, traceFlags }),
    parentSpanId: span.parentSpanId,
    startTime: moment(span.startedAtMs),
    endTime: moment(endedAtMs),
    duration: moment(endedAtMs - span.startedAtMs),
    ended: true,
    status: { code: SpanStatusCode.UNSET },
    attributes: { temporalWorkflowId: span.workflowId, run_id: span.runId },
    links: [],
    events: [],
    resource,
    instrumentationLibrary: { name: 'gpuaas' },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}
