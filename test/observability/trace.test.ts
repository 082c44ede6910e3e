/** One trace through every process, on the real platform, told by the parent links of what a collector received. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { buildWorkflowBundle } from '../../workers/bundle.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { startCollector, type Collector, type Span } from './collector.ts';
import { addNode, allocate, newRoot, openTenant, release, type Root, type Tenant } from './tenant.ts';
import { faultsOf, servicesUpwards, type Hop } from './trace-tree.ts';

const startMs = 600_000;
const lifecycleMs = 240_000;
const spansDeadlineMs = 60_000;

/** Every hop of a lifecycle's step, from its request on. */
const hops = (of: {
  request: RegExp;
  command: RegExp;
  run: RegExp;
  task: RegExp;
  subjects: readonly string[];
}): Hop[] => [
  { what: 'the request', service: 'api', name: of.request },
  { what: 'the command', service: 'api', name: of.command },
  { what: 'the run', service: 'worker', name: of.run },
  { what: 'an activity', service: 'worker', name: /^RunActivity:transitionAllocation$/ },
  { what: 'the node task', service: 'node-agent', name: of.task },
  { what: 'the report of the node task', service: 'api', name: /^POST .*\/tasks\/\{task_id\}\/result$/ },
  ...of.subjects.flatMap((subject) => [
    { what: `publish ${subject}`, service: 'outbox-relay', name: new RegExp(`^publish ${subject}$`) },
    { what: `consume ${subject}`, service: 'event-consumers', name: new RegExp(`^consume ${subject}$`) },
  ]),
];

const createHops = hops({
  request: /^POST \/api\/v1\/allocations$/,
  command: /^UpdateWithStartWorkflow:/,
  run: /^RunWorkflow:allocation$/,
  task: /^task node\.allocation_prepare$/,
  subjects: ['gpuaas.provisioning.requested', 'gpuaas.provisioning.active'],
});
const releaseHops = hops({
  request: /^POST \/api\/v1\/allocations\/\{allocation_id\}\/release$/,
  command: /^StartWorkflowUpdate:/,
  run: /^HandleUpdate:/,
  task: /^task node\.allocation_cleanup$/,
  subjects: ['gpuaas.provisioning.releasing.requested', 'gpuaas.provisioning.releasing.completed'],
});

describe('a traced platform', () => {
  let collector: Collector;
  let platform: Platform;
  let tenant: Tenant;
  let nodeSecret = '';
  let id = '';
  let ofActive: readonly Span[] = [];
  const create = newRoot();
  const end = newRoot();

  /** Waits until a trace is whole; says what is missing when it never is. */
  const untilWhole = async (root: Root, wanted: readonly Hop[]): Promise<void> => {
    await waitUntil(() => faultsOf(collector.spans, root, wanted).length === 0, {
      deadlineMs: spansDeadlineMs,
      onTimeout: () => faultsOf(collector.spans, root, wanted).join('\n'),
    });
  };

  beforeAll(async () => {
    collector = await startCollector();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    platform = await startPlatform({ name: 'traced', ports: 'free', ephemeral: true, env });
    tenant = await openTenant(platform);
    const node = { name: 'traced-1', sku: 'h100-8x', gpuCount: 8 };
    nodeSecret = (await addNode(platform, tenant, node, env)).secret;
    id = await allocate(tenant, 'h100-8x', create);
    await untilWhole(create, createHops);
    ofActive = [...collector.spans];
    await release(tenant, id, end);
  }, startMs);

  afterAll(async () => {
    await platform?.stop();
    await collector?.stop();
  });

  it(
    'has one tree from the request to node and consumers, and another for the release',
    async () => {
      await untilWhole(create, createHops);
      await untilWhole(end, releaseHops);
      expect(collector.rejected).toEqual([]);
    },
    lifecycleMs,
  );

  it('leads from a consumer back to the request over every process in between', async () => {
    await untilWhole(end, releaseHops);
    const consumed = collector.spans.find(
      ({ traceId, name }) =>
        traceId === end.traceId && name === 'consume gpuaas.provisioning.releasing.requested',
    );
    expect(servicesUpwards(collector.spans, consumed as Span)).toEqual([
      'event-consumers',
      'outbox-relay',
      'worker',
      'api',
    ]);
    const task = collector.spans.find(
      ({ traceId, name }) => traceId === end.traceId && name === 'task node.allocation_cleanup',
    );
    expect(servicesUpwards(collector.spans, task as Span)).toEqual(['node-agent', 'worker', 'api']);
  });

  it('holds no span open as long as a run lives', () => {
    // Taken while the allocation was active: the run's own span is that of its first step.
    expect(ofActive.some(({ name }) => name === 'RunWorkflow:allocation')).toBe(true);
    expect(faultsOf(ofActive, create, createHops)).toEqual([]);
  });

  it('finds every planted break', async () => {
    await untilWhole(create, createHops);
    for (const hop of createHops) {
      const isHop = (span: Span) =>
        span.traceId === create.traceId && span.service === hop.service && hop.name.test(span.name);
      const without = collector.spans.filter((span) => !isHop(span));
      expect(faultsOf(without, create, createHops), hop.what).toContain(`no span: ${hop.what}`);
      // What a lost header leaves: a span in a trace of its own, or below nobody.
      const elsewhere = collector.spans.map((span) =>
        isHop(span) ? { ...span, traceId: '0'.repeat(31) + '1' } : span,
      );
      expect(faultsOf(elsewhere, create, createHops), hop.what).toContain(`no span: ${hop.what}`);
      const orphaned = collector.spans.map((span) =>
        isHop(span) ? { ...span, parentSpanId: undefined } : span,
      );
      expect(faultsOf(orphaned, create, createHops).join(), hop.what).toContain('its chain ends at');
    }
  });

  it("tells nobody's name, key, token or secret", async () => {
    await untilWhole(end, releaseHops);
    const text = collector.bodies.join('\n');
    for (const secret of [...tenant.secrets, nodeSecret]) expect(text.includes(secret)).toBe(false);
  });

  it(
    'has a history that replays with the module that carries the trace, and without it',
    async () => {
      Runtime.install({ shutdownSignals: [], logger: new DefaultLogger('ERROR', () => undefined) });
      const { TEMPORAL_ADDRESS: address = '', TEMPORAL_NAMESPACE: namespace = '' } = platform.env;
      const client = openTemporal({ address, namespace });
      try {
        const history = await client.workflow.getHandle(`allocation-${id}`).fetchHistory();
        expect(JSON.stringify(history)).toContain('_tracer-data');
        const workflowsPath = createRequire(import.meta.url).resolve('../../workflows/index.ts');
        const without = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') });
        for (const workflowBundle of [await buildWorkflowBundle(), without])
          await Worker.runReplayHistory({ workflowBundle }, history, `allocation-${id}`);
      } finally {
        await client.connection.close();
      }
    },
    lifecycleMs,
  );

  it(
    'takes no refusal for an error',
    async () => {
      const root = newRoot();
      const answer = await fetch(`${platform.apiUrl}/api/v1/allocations`, {
        headers: { traceparent: `00-${root.traceId}-${root.spanId}-01` },
      });
      expect(answer.status).toBe(401);
      const ours = () => collector.spans.find(({ traceId }) => traceId === root.traceId);
      await waitUntil(() => ours() !== undefined, {
        deadlineMs: spansDeadlineMs,
        onTimeout: () => 'the refused request has no span',
      });
      expect(ours()).toMatchObject({
        isError: false,
        parentSpanId: root.spanId,
        attributes: { 'http.response.status_code': 401, 'http.route': '/api/v1/allocations' },
      });
    },
    lifecycleMs,
  );

  it.each([
    '00-0-0-01',
    `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
    `ff-${'1'.repeat(32)}-${'1'.repeat(16)}-01`,
  ])(
    'begins a trace of its own when the caller sends %s',
    async (traceparent) => {
      const correlationId = newRoot().correlationId;
      await fetch(`${platform.apiUrl}/api/v1/catalog/skus`, {
        headers: { traceparent, 'X-Correlation-Id': correlationId },
      });
      const ours = () =>
        collector.spans.find(({ attributes }) => attributes['gpuaas.correlation_id'] === correlationId);
      await waitUntil(() => ours() !== undefined, {
        deadlineMs: spansDeadlineMs,
        onTimeout: () => 'the request has no span',
      });
      expect(ours()?.parentSpanId).toBeUndefined();
      expect(traceparent).not.toContain(ours()?.traceId);
    },
    lifecycleMs,
  );

  describe('its logs', () => {
    const lines = (service: Platform['services'][keyof Platform['services']]) =>
      readFileSync(service.logFile(), 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);

    it('name the correlation id wherever a request, an event or a task is spoken of', () => {
      const about = ['operation', 'event_id', 'task_id', 'error_code', 'delivery'];
      const all = Object.values(platform.services).flatMap((service) => lines(service));
      const concerned = all.filter((line) => about.some((key) => key in line));
      expect(concerned.length).toBeGreaterThan(10);
      expect(concerned.filter((line) => typeof line['correlation_id'] !== 'string')).toEqual([]);
    });

    it.each<[string, Root]>([
      ['create', create],
      ['release', end],
    ])('lead from the %s to its trace', (_, root) => {
      const request = lines(platform.services.api).find(
        (line) => line['message'] === 'request' && line['correlation_id'] === root.correlationId,
      );
      expect(request?.['trace_id']).toBe(root.traceId);
    });

    it('hold no secret', () => {
      const text = Object.values(platform.services)
        .map((service) => readFileSync(service.logFile(), 'utf8'))
        .join('\n');
      const [userToken = '', adminToken = '', publicKey = ''] = tenant.secrets;
      for (const secret of [userToken, adminToken, publicKey, nodeSecret])
        expect(text.includes(secret)).toBe(false);
    });
  });

  it(
    'misses the node task of an agent that is not traced, and nothing else changes',
    async () => {
      const node = { name: 'untraced-1', sku: 'l40s-4x', gpuCount: 4 };
      await addNode(platform, tenant, node, {});
      const [begun, ended] = [newRoot(), newRoot()];
      const id = await allocate(tenant, 'l40s-4x', begun);
      await release(tenant, id, ended);
      await untilWhole(
        begun,
        createHops.filter(({ service }) => service !== 'node-agent'),
      );
      expect(faultsOf(collector.spans, begun, createHops)).toEqual(['no span: the node task']);
    },
    lifecycleMs,
  );

  it(
    'works on when the collector goes away, and says once that spans are lost',
    async () => {
      await collector.stop();
      const id = await allocate(tenant, 'h100-8x', newRoot());
      await release(tenant, id, newRoot());
      for (const service of [platform.services.api, platform.services.worker]) {
        const lost = () =>
          readFileSync(service.logFile(), 'utf8').split('"message":"spans are lost"').length - 1;
        await waitUntil(() => lost() > 0, {
          deadlineMs: spansDeadlineMs,
          onTimeout: () => `${service.name} does not say that spans are lost`,
        });
        expect(lost()).toBe(1);
      }
    },
    lifecycleMs,
  );
});
