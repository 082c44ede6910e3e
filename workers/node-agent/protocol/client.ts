import { request, type Agent } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { postTaskResult, waitForTasks } from '../../../contracts/nodes/node-task.api.ts';
import { parseJson } from './verify.ts';

export type TaskReport = ReturnType<(typeof postTaskResult.body)['parse']>;

/** One answer of the long poll. Each task is still as it came: verify before use. */
export interface TaskBatch {
  readonly tasks: readonly unknown[];
  readonly cancel: readonly string[];
  /** Clock of the plane, milliseconds since the epoch. */
  readonly serverTimeMs: number;
}

/** What became of a report: kept, refused for good, or not a report at all in the plane's eyes. */
export type Receipt = 'stored' | 'fenced' | 'unknown' | 'rejected';

export interface ClientOptions {
  readonly nodeId: string;
  readonly apiUrl: string;
  /** PEM of the authority that the API's certificate must come from. */
  readonly ca: string;
  /** Read anew after a refusal, so that a replaced secret is picked up. */
  readonly readSecret: () => string;
  /** Connections are kept alive and may be shared by many clients. */
  readonly connections: Agent;
}

/** The API did not do what was asked; `status` 0 when there was no answer at all. */
export class ApiUnavailable extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(`the API answered ${status} ${code}`);
    this.name = 'ApiUnavailable';
    this.status = status;
    this.code = code;
  }
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Longer than the hold by this much: time for the answer itself. */
const SLACK_MS = 10_000;
const MAX_REPLY_BYTES = 4 * 1024 * 1024;
/** `running` is at most 4096 characters, 37 an id. */
const MAX_NAMED = 110;

/** Speaks the node-task protocol for one node. */
export class TaskClient {
  private readonly options: ClientOptions;
  private secret: string | undefined;

  constructor(options: ClientOptions) {
    if (new URL(options.apiUrl).protocol !== 'https:') throw new Error('AGENT_API_URL must be https');
    this.options = options;
  }

  /**
   * Asks for work and names what is running; the API holds the answer for up to `holdSeconds`.
   * @throws ApiUnavailable for everything but a well-formed 200.
   */
  async waitForTasks(
    running: readonly string[],
    holdSeconds: number,
    signal: AbortSignal,
  ): Promise<TaskBatch> {
    const query = new URLSearchParams({ hold_seconds: String(holdSeconds) });
    if (running.length > 0) query.set('running', running.slice(0, MAX_NAMED).join(','));
    const path = waitForTasks.path.replace('{node_id}', this.options.nodeId);
    const deadlineMs = holdSeconds * 1000 + SLACK_MS;
    const reply = await this.call({ method: 'GET', path: `${path}?${query.toString()}`, deadlineMs, signal });
    if (reply.status !== 200) throw new ApiUnavailable(reply.status, errorCode(reply.body));
    return readBatch(reply.body);
  }

  /**
   * Posts how a task ended. `body` is sent as it is.
   * @throws ApiUnavailable when the API did not decide: the report has to be sent again.
   */
  async postResult(
    task: { readonly taskId: string; readonly correlationId: string; readonly traceparent: string | null },
    body: unknown,
    signal?: AbortSignal,
  ): Promise<Receipt> {
    const path = postTaskResult.path
      .replace('{node_id}', this.options.nodeId)
      .replace('{task_id}', task.taskId);
    const headers = {
      'content-type': 'application/json',
      'x-correlation-id': task.correlationId,
      ...(task.traceparent === null ? {} : { traceparent: task.traceparent }),
    };
    const text = JSON.stringify(body);
    const reply = await this.call({
      method: 'POST',
      path,
      headers,
      body: text,
      deadlineMs: SLACK_MS,
      signal,
    });
    const code = errorCode(reply.body);
    if (reply.status === 200) return 'stored';
    if (reply.status === 409 && code === 'node_task_fenced') return 'fenced';
    if (reply.status === 404 && code === 'node_task_not_found') return 'unknown';
    if (reply.status === 400 || reply.status === 413) return 'rejected';
    throw new ApiUnavailable(reply.status, code);
  }

  private async call(call: Call): Promise<Reply> {
    this.secret ??= this.options.readSecret();
    const reply = await this.send(call, this.secret);
    if (reply.status === 401 || reply.status === 403) this.secret = undefined;
    return reply;
  }

  private send(call: Call, secret: string): Promise<Reply> {
    // Not AbortSignal.any over AbortSignal.timeout: Node 20 may collect the pair before it fires.
    const aborting = new AbortController();
    const { signal } = aborting;
    const abort = (): void => aborting.abort();
    const deadline = setTimeout(abort, call.deadlineMs);
    if (call.signal?.aborted === true) abort();
    call.signal?.addEventListener('abort', abort, { once: true });
    const answered = new Promise<Reply>((resolve, reject) => {
      const fail = (): void => reject(new ApiUnavailable(0, signal.aborted ? 'aborted' : 'no_answer'));
      const outgoing = request(
        new URL(call.path, this.options.apiUrl),
        {
          method: call.method,
          agent: this.options.connections,
          ca: this.options.ca,
          signal,
          headers: {
            accept: 'application/json',
            authorization: `Bearer ${secret}`,
            ...call.headers,
            ...(call.body === undefined ? {} : { 'content-length': Buffer.byteLength(call.body) }),
          },
        },
        (incoming) => void readReply(incoming).then(resolve, fail),
      );
      outgoing.once('error', fail);
      outgoing.end(call.body);
    });
    return answered.finally(() => {
      clearTimeout(deadline);
      call.signal?.removeEventListener('abort', abort);
    });
  }
}

async function readReply(incoming: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > MAX_REPLY_BYTES) throw new Error('reply too large');
    chunks.push(chunk);
  }
  return { status: incoming.statusCode ?? 0, body: parseJson(Buffer.concat(chunks).toString('utf8')) };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const errorCode = (body: unknown): string =>
  isRecord(body) && typeof body['code'] === 'string' ? body['code'].slice(0, 64) : 'none';

/** Everything but the tasks must fit the contract: one task that is rubbish must not cost the others. */
function readBatch(body: unknown): TaskBatch {
  const tasks = isRecord(body) ? body['tasks'] : undefined;
  const schema = waitForTasks.responses[200]?.schema;
  const rest: unknown = isRecord(body) ? schema?.safeParse({ ...body, tasks: [] }).data : undefined;
  const cancel = isRecord(rest) ? rest['cancel'] : undefined;
  const serverTime = isRecord(rest) ? rest['server_time'] : undefined;
  if (!Array.isArray(tasks) || !Array.isArray(cancel) || typeof serverTime !== 'string') {
    throw new ApiUnavailable(200, 'unreadable_answer');
  }
  return {
    tasks,
    cancel: cancel.filter((id): id is string => typeof id === 'string'),
    serverTimeMs: Date.parse(serverTime),
  };
}
