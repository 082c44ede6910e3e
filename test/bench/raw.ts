/** Drives R0 and R1 on the server that the product uses. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { WithStartWorkflowOperation, type Client } from '@temporalio/client';
import { TypedSearchAttributes, defineSearchAttributeKey, type Workflow } from '@temporalio/common';
import { Redis } from 'ioredis';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { Service } from '../../workers/local/service.ts';
import { checkoutRoot } from '../../workers/local/stack-config.ts';
import { filler } from './filler.ts';
import type { Lifecycle } from './product.ts';
import { announceChannel } from './raw-activities.ts';
import type { Shape } from './shape.ts';

const taskQueue = 'bench-raw';
const announceDeadlineMs = 60_000;

/** Where the servers are; a `Stack` has both fields. */
export interface RawStack {
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Runs of the raw workflows. */
export class RawDriver {
  readonly service: Service;
  readonly shape: Shape;
  readonly temporal: Client;
  readonly #subscriber: Redis;
  readonly #waiting = new Map<string, () => void>();
  readonly #updates: readonly [string, string];
  readonly #releaseArgument: string;

  private constructor(stack: RawStack, shape: Shape) {
    this.shape = shape;
    this.#updates = updateOrder(shape);
    this.#releaseArgument = filler(shape.updates[this.#updates[1]] ?? 0) ?? '';
    this.service = rawWorker(stack, shape);
    this.temporal = openTemporal({
      address: stack.env['TEMPORAL_ADDRESS'] ?? '',
      namespace: stack.env['TEMPORAL_NAMESPACE'] ?? '',
    });
    this.#subscriber = new Redis(stack.env['REDIS_URL'] ?? '', { maxRetriesPerRequest: null });
    this.#subscriber.on('error', () => undefined); // it connects again by itself
    this.#subscriber.on('message', (_channel: string, workflowId: string) =>
      this.#waiting.get(workflowId)?.(),
    );
  }

  /** Builds the shape into a worker and starts it. */
  static async start(stack: RawStack, shape: Shape): Promise<RawDriver> {
    const driver = new RawDriver(stack, shape);
    await driver.#subscriber.subscribe(announceChannel);
    await driver.service.start();
    return driver;
  }

  /** One R0: start to result, in ms. */
  async empty(): Promise<number> {
    const begun = performance.now();
    await this.temporal.workflow.execute('r0', { workflowId: `raw-0-${randomUUID()}`, taskQueue });
    return performance.now() - begun;
  }

  /** One R1, driven with the calls that the API and its client make for P. */
  async lifecycle(): Promise<Lifecycle> {
    const { shape } = this;
    const workflowId = `raw-1-${randomUUID()}`;
    const [first, last] = this.#updates;
    const announced = this.#announcement(workflowId);
    const begun = performance.now();
    const startWorkflowOperation = new WithStartWorkflowOperation('r1', {
      workflowId,
      taskQueue,
      args: [filler(shape.inputBytes)],
      workflowTaskTimeout: shape.workflowTaskTimeoutMs,
      staticSummary: 'x'.repeat(shape.summaryBytes),
      typedSearchAttributes: new TypedSearchAttributes(
        Object.entries(shape.attributes).map(([name, value]) => ({
          key: defineSearchAttributeKey(name, 'KEYWORD'),
          value,
        })),
      ),
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
    });
    await this.temporal.workflow.executeUpdateWithStart<Workflow, string, []>(first, {
      startWorkflowOperation,
      updateId: randomUUID(),
    });
    const createdMs = performance.now() - begun;
    await announced;
    const activeMs = performance.now() - begun;
    const asked = performance.now();
    const handle = this.temporal.workflow.getHandle(workflowId);
    await handle.executeUpdate<string, [string]>(last, {
      args: [this.#releaseArgument],
      updateId: randomUUID(),
    });
    const releaseAnsweredMs = performance.now() - asked;
    await handle.result();
    const releasedMs = performance.now() - asked;
    return {
      workflowId,
      createdMs,
      activeMs,
      releaseAnsweredMs,
      releasedMs,
      totalMs: performance.now() - begun,
    };
  }

  #announcement(workflowId: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${workflowId} did not come so far`)),
        announceDeadlineMs,
      );
      this.#waiting.set(workflowId, () => {
        clearTimeout(late);
        this.#waiting.delete(workflowId);
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    this.#subscriber.disconnect();
    await this.temporal.connection.close();
    await this.service.stop();
  }
}

function updateOrder(shape: Shape): [string, string] {
  const names = shape.steps.flatMap((step) => (step.kind === 'awaitUpdate' ? [step.name] : []));
  const [first, last] = [names[0], names.at(-1)];
  if (first === undefined || last === undefined || names.length !== 2) {
    throw new Error(`a lifecycle has two updates, this shape has ${names.length}`);
  }
  if (shape.updates[first] !== 0) throw new Error('the update that comes with the start has no argument');
  return [first, last];
}

function rawWorker(stack: RawStack, shape: Shape): Service {
  const dir = path.join(stack.stateDir, 'bench');
  mkdirSync(dir, { recursive: true });
  const file = path.join(dir, 'raw.workflows.ts');
  const source = path.join(checkoutRoot, 'test/bench/shaped.workflow.ts');
  // The shape is code of the bundle, not an argument: an argument would be a payload that P does not have.
  writeFileSync(
    file,
    `import { empty, runShape } from ${JSON.stringify(source)};\nconst shape = ${JSON.stringify(shape)};\n` +
      'export async function r0() { await empty(); }\nexport async function r1() { return runShape(shape); }\n',
  );
  const service: Service = new Service({
    name: 'raw-worker',
    entry: 'test/bench/raw-worker.ts',
    logDir: path.join(stack.stateDir, 'logs'),
    nodeArgs: ['--enable-source-maps'],
    env: {
      TEMPORAL_ADDRESS: stack.env['TEMPORAL_ADDRESS'] ?? '',
      TEMPORAL_NAMESPACE: stack.env['TEMPORAL_NAMESPACE'] ?? '',
      REDIS_URL: stack.env['REDIS_URL'] ?? '',
      RAW_TASK_QUEUE: taskQueue,
      RAW_WORKFLOWS_FILE: file,
    },
    probe: async () => {
      const log = existsSync(service.logFile()) ? readFileSync(service.logFile(), 'utf8') : '';
      if (!log.includes('ready: raw worker')) throw new Error('the raw worker has said nothing yet');
    },
  });
  return service;
}
