/** Tracing in one process: what is read, sampled, cleaned and sent. */
import { SpanStatusCode, trace, type Attributes } from '@opentelemetry/api';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import { cleanAttributes } from '../../activities/platform/tracing-export.ts';
import {
  currentTraceparent,
  startTracing,
  withRemoteParent,
  type Tracing,
} from '../../activities/platform/tracing.ts';
import { readTracingConfig } from '../../contracts/environment.tracing.api.ts';
import { formatTraceparent, parseTraceparent } from '../../contracts/trace.ts';
import { activeTraceparent } from '../../db/trace.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { TaskTraces } from '../../workers/node-agent/traces.ts';
import { startCollector, type Collector } from './collector.ts';

const deadlineMs = 30_000;
const away = 'http://127.0.0.1:9';
const hex = (length: number) =>
  fc
    .array(fc.integer({ min: 0, max: 15 }), { minLength: length, maxLength: length })
    .map((digits) => digits.map((digit) => digit.toString(16)).join(''));

describe('the environment', () => {
  const base = 'http://collector:4318';
  const defaults = { headers: {}, sampler: 'parentbased_always_on', ratio: 1 };
  it.each<[Record<string, string>, unknown]>([
    [{}, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: base }, { url: `${base}/v1/traces`, ...defaults }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: `${base}/` }, { url: `${base}/v1/traces`, ...defaults }],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${base}/t` }, { url: `${base}/t`, ...defaults }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_SDK_DISABLED: 'true' }, undefined],
    [
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: base,
        OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
        OTEL_TRACES_SAMPLER_ARG: '0.25',
        OTEL_EXPORTER_OTLP_HEADERS: 'a=1, b=x%20y',
      },
      {
        url: `${base}/v1/traces`,
        sampler: 'parentbased_traceidratio',
        ratio: 0.25,
        headers: { a: '1', b: 'x y' },
      },
    ],
  ])('%j says %j', (env, config) => {
    expect(readTracingConfig(env)).toEqual(config);
  });

  it.each([
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'grpc-secret' },
    { OTEL_TRACES_SAMPLER: 'secret' },
    { OTEL_TRACES_SAMPLER_ARG: '2' },
    { OTEL_EXPORTER_OTLP_HEADERS: 'secret' },
  ])('%j is refused by name, without its value', (env) => {
    const [name] = Object.keys(env);
    expect(() => readTracingConfig(env)).toThrow(name);
    expect(() => readTracingConfig(env)).not.toThrow('secret');
  });
});

describe('a traceparent', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(hex(32), hex(16), fc.integer({ min: 0, max: 255 }), (traceId, spanId, traceFlags) => {
        fc.pre(!/^0+$/.test(traceId) && !/^0+$/.test(spanId));
        const point = { traceId, spanId, traceFlags };
        return JSON.stringify(parseTraceparent(formatTraceparent(point))) === JSON.stringify(point);
      }),
    );
  });

  it('is nothing when it is anything else', () => {
    fc.assert(fc.property(fc.anything(), (value) => parseTraceparent(value) === undefined));
  });
});

describe('attributes', () => {
  it('leave only when they are known, and without what looks like a secret', () => {
    const marker = 'eyJhbGciOiJub25lIn0.c2VjcmV0.c2lnbmF0dXJl';
    const keys = fc.oneof(fc.string(), fc.constantFrom('http.route', 'gpuaas.correlation_id', 'password'));
    const values = fc.oneof(fc.constant(`Bearer ${marker}`), fc.constant(marker), fc.integer());
    fc.assert(
      fc.property(fc.dictionary(keys, values), (attributes: Attributes) => {
        const cleaned = cleanAttributes(attributes);
        return (
          !JSON.stringify(cleaned).includes(marker) &&
          Object.keys(cleaned).every((key) => /^(http|gpuaas|messaging|error|temporal|run_id)/.test(key))
        );
      }),
    );
  });
});

describe('a process that is not traced', () => {
  it('runs the work and says nothing of it', async () => {
    const tracing = await startTracing({ process: 'quiet', env: {} });
    const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
    const seen = await withRemoteParent(traceparent, { name: 'x', attributes: {} }, () =>
      Promise.resolve([currentTraceparent(), activeTraceparent()]),
    );
    expect([tracing.enabled, seen]).toEqual([false, [undefined, null]]);
    await tracing.stop();
  });
});

describe('a traced process', () => {
  let collector: Collector;
  let tracing: Tracing;
  const lost: unknown[] = [];
  const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) };
  const sampled = formatTraceparent({ ...parent, traceFlags: 1 });
  const unsampled = formatTraceparent({ traceId: 'c'.repeat(32), spanId: 'd'.repeat(16), traceFlags: 0 });
  const named = (name: string) => collector.spans.find((span) => span.name === name);
  const arrives = (name: string) =>
    waitUntil(() => named(name) !== undefined, { deadlineMs, onTimeout: () => `${name} did not arrive` });

  beforeAll(async () => {
    collector = await startCollector();
    tracing = await startTracing({
      process: 'traced',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
      onLoss: (error) => lost.push(error),
    });
  });
  afterAll(() => collector.stop());

  it('puts work below its remote parent, and tells whoever goes on with it', async () => {
    let passedOn: string | undefined;
    const attributes = { 'messaging.system': 'nats', secret: 'x' };
    await withRemoteParent(sampled, { name: 'work', attributes }, () => {
      passedOn = currentTraceparent();
      expect(activeTraceparent()).toBe(passedOn);
      return Promise.resolve();
    });
    await arrives('work');
    const span = named('work');
    expect(span).toMatchObject({ ...{ traceId: parent.traceId, parentSpanId: parent.spanId } });
    expect(span).toMatchObject({
      service: 'traced',
      isError: false,
      attributes: { 'messaging.system': 'nats' },
    });
    expect(span?.attributes).not.toHaveProperty('secret');
    expect(parseTraceparent(passedOn)?.spanId).toBe(span?.spanId);
  });

  it('tells of an error its kind and nothing that it says', async () => {
    const failing = withRemoteParent(sampled, { name: 'failing', attributes: {} }, () => {
      const span = trace.getActiveSpan();
      span?.recordException(new TypeError('params: dev-user'));
      span?.setStatus({ code: SpanStatusCode.ERROR, message: 'dev-user' });
      return Promise.reject(new RangeError('params: dev-user'));
    });
    await expect(failing).rejects.toThrow('params: dev-user');
    await arrives('failing');
    expect(named('failing')).toMatchObject({ isError: true, attributes: { 'error.type': 'RangeError' } });
    const body = collector.bodies.find((one) => one.includes('"failing"')) ?? '';
    expect(body).toContain('TypeError');
    expect(body).not.toContain('dev-user');
  });

  it('records nothing of a trace that nobody wants, and passes it on all the same', async () => {
    const passedOn = await withRemoteParent(unsampled, { name: 'unwanted', attributes: {} }, () =>
      Promise.resolve(currentTraceparent()),
    );
    expect(parseTraceparent(passedOn)).toMatchObject({ traceId: 'c'.repeat(32), traceFlags: 0 });
    await withRemoteParent(sampled, { name: 'wanted', attributes: {} }, () => Promise.resolve());
    await arrives('wanted');
    expect(named('unwanted')).toBeUndefined();
  });

  it('sends the short span of a run when it is wanted', async () => {
    const run = { name: 'RunWorkflow:x', startedAtMs: Date.now() - 5, workflowId: 'w', runId: 'r' };
    const point = { traceId: 'e'.repeat(32), parentSpanId: 'f'.repeat(16) };
    tracing.workflowSpans?.([
      { ...run, ...point, spanId: '1'.repeat(16), traceFlags: 1 },
      { ...run, ...point, name: 'unwanted run', spanId: '2'.repeat(16), traceFlags: 0 },
    ]);
    await arrives('RunWorkflow:x');
    expect(named('RunWorkflow:x')).toMatchObject({ ...point, attributes: { run_id: 'r' } });
    expect(named('unwanted run')).toBeUndefined();
  });

  it('puts the trace into its log lines', async () => {
    const lines: string[] = [];
    const log = createLogger(
      { process: 'traced', level: 'info' },
      { write: (line) => void lines.push(line) },
    );
    log.info('outside');
    await withRemoteParent(sampled, { name: 'logged', attributes: {} }, () => {
      log.info({ correlation_id: 'c' }, 'inside');
      return Promise.resolve();
    });
    const [outside, inside] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(outside).not.toHaveProperty('trace_id');
    expect(inside).toMatchObject({ trace_id: parent.traceId, correlation_id: 'c', message: 'inside' });
  });

  it('goes on without its collector, drops what is too much, and ends', async () => {
    await collector.stop();
    for (let index = 0; index < 10_000; index += 1)
      await withRemoteParent(sampled, { name: 'lost', attributes: {} }, () => Promise.resolve());
    await waitUntil(() => lost.length > 0, { deadlineMs, onTimeout: () => 'no loss was told' });
    await tracing.stop();
    expect(lost).toHaveLength(1);
    collector = await startCollector();
  });
});

describe("an agent's traces", () => {
  const task = {
    kind: 'node.gpu_scrub',
    correlation_id: 'c',
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  };

  it('put a task below the activity that queued it, and its report below the task', async () => {
    const collector = await startCollector();
    const traces = new TaskTraces(new URL(`${collector.url}/v1/traces`), 'node');
    const span = traces.start(task);
    span.end('failed');
    await traces.stop();
    expect(collector.rejected).toEqual([]);
    expect(collector.spans).toMatchObject([
      { name: 'task node.gpu_scrub', traceId: 'a'.repeat(32), parentSpanId: 'b'.repeat(16), isError: true },
    ]);
    expect(parseTraceparent(span.traceparent)?.spanId).toBe(collector.spans[0]?.spanId);
    await collector.stop();
  });

  it.each<[string, URL | undefined, string | null]>([
    ['an agent that is not traced', undefined, task.traceparent],
    ['a trace that nobody wants', new URL(away), task.traceparent.replace(/01$/, '00')],
    ['a task without a trace', new URL(away), null],
    ['a task with rubbish', new URL(away), 'rubbish'],
  ])('leave %s alone', async (_, url, traceparent) => {
    const traces = new TaskTraces(url, 'node');
    const span = traces.start({ ...task, traceparent });
    span.end('succeeded');
    await traces.stop();
    expect(span.traceparent).toBe(traceparent);
  });

  it('cost nothing but spans while the collector is away', async () => {
    const traces = new TaskTraces(new URL(away), 'node');
    for (let index = 0; index < 2000; index += 1) traces.start(task).end('succeeded');
    await traces.stop();
  });
});
