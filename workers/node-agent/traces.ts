import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { formatTraceparent, isSampled, parseTraceparent } from '../../contracts/trace.ts';
import { monotonicMs } from './clock.ts';

/** The span of one task. */
export interface TaskSpan {
  /** For the report: it goes on below this span. */
  readonly traceparent: string | null;
  /** @param outcome of the task's report, or why there is none. */
  end(outcome: string): void;
}

interface TracedTask {
  readonly kind: string;
  readonly correlation_id: string;
  readonly traceparent: string | null;
}

const SEND_EVERY_MS = 1000;
const SEND_TIMEOUT_MS = 2000;
/** What waits for the collector; what comes on top is dropped. */
const MAX_WAITING = 1000;

const nanoseconds = (ms: number): string => `${Math.round(ms * 1000)}000`;
const attribute = (key: string, value: string) => ({ key, value: { stringValue: value } });

/**
 * A span for each task that is traced, sent as OTLP over HTTP, in JSON. A collector that is away costs spans, never a
 * task.
 */
export class TaskTraces {
  readonly #url: URL | undefined;
  readonly #nodeId: string;
  readonly #waiting: object[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();

  /** @param url undefined when nothing is to be traced. */
  constructor(url: URL | undefined, nodeId: string) {
    this.#url = url;
    this.#nodeId = nodeId;
  }

  /** Begins the span of a task, below the activity that queued it. */
  start(task: TracedTask): TaskSpan {
    const parent = this.#url === undefined ? undefined : parseTraceparent(task.traceparent);
    if (parent === undefined || !isSampled(parent))
      return { traceparent: task.traceparent, end: () => undefined };
    const spanId = randomBytes(8).toString('hex');
    const startedAtMs = Date.now();
    const begin = monotonicMs();
    return {
      traceparent: formatTraceparent({ ...parent, spanId }),
      end: (outcome) =>
        this.#add({
          traceId: parent.traceId,
          spanId,
          parentSpanId: parent.spanId,
          name: `task ${task.kind}`,
          kind: 5,
          startTimeUnixNano: nanoseconds(startedAtMs),
          endTimeUnixNano: nanoseconds(startedAtMs + monotonicMs() - begin),
          attributes: [
            attribute('gpuaas.correlation_id', task.correlation_id),
            attribute('gpuaas.outcome', outcome),
          ],
          status: outcome === 'failed' ? { code: 2 } : {},
        }),
    };
  }

  /** Sends what is left, for at most two seconds. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#flush();
    await this.#sending;
  }

  #add(span: object): void {
    if (this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push(span);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, SEND_EVERY_MS).unref();
  }

  #flush(): void {
    const url = this.#url;
    if (url === undefined || this.#waiting.length === 0) return;
    const spans = this.#waiting.splice(0);
    const resource = {
      attributes: [
        attribute('service.name', 'node-agent'),
        attribute('service.namespace', 'gpuaas'),
        attribute('service.instance.id', this.#nodeId),
      ],
    };
    const scopeSpans = [{ scope: { name: 'gpuaas' }, spans }];
    const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] });
    this.#sending = this.#sending.then(() => post(url, body));
  }
}

/** Resolves when it is sent or lost. */
function post(url: URL, body: string): Promise<void> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    const outgoing = send(url, {
      method: 'POST',
      timeout: SEND_TIMEOUT_MS,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    outgoing.once('response', (incoming) => incoming.resume());
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', () => resolve());
    outgoing.once('close', () => resolve());
    outgoing.end(body);
  });
}
