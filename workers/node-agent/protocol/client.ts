import { request, type Agent } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { components, operations, paths } from '../../../contracts/generated/client.ts';
import { waitForTasks } from '../../../contracts/nodes/node-task.api.ts';
import { parseJson } from './verify.ts';

type Waiting = operations['waitForTasks'];
type Reporting = operations['postTaskResult'];
/** Codes of one status that a report may be answered with. */
type Refusal<S extends 404 | 409> = Reporting['responses'][S]['content']['application/json']['code'];

const waitPath = '/internal/v1/nodes/{node_id}/tasks/wait' satisfies keyof paths;
const resultPath = '/internal/v1/nodes/{node_id}/tasks/{task_id}/result' satisfies keyof paths;
const fenced: Refusal<409> = 'node_task_fenced';
const unknownTask: Refusal<404> = 'node_task_not_found';

export type TaskReport = components['schemas']['NodeTaskReport'];

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

/** What a report is about. */
export interface ReportedTask {
  readonly taskId: string;
  readonly correlationId: string;
  readonly traceparent: string | null;
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
    const query: Waiting['parameters']['query'] = {
      hold_seconds: holdSeconds,
      ...(running.length > 0 ? { running: running.slice(0, MAX_NAMED).join(',') } : {}),
    };
    const named: Waiting['parameters']['path'] = { node_id: this.options.nodeId };
    const path = addressOf(waitPath, named, query);
    const deadlineMs = holdSeconds * 1000 + SLACK_MS;
    const reply = await this.call({ method: 'GET', path, deadlineMs, signal });
    if (reply.status !== 200) throw new ApiUnavailable(reply.status, errorCode(reply.body));
    return readBatch(reply.body);
  }

  /**
   * Posts how a task ended.
   * @throws ApiUnavailable when the API did not decide: the report has to be sent again.
   */
  postResult(task: ReportedTask, report: TaskReport, signal?: AbortSignal): Promise<Receipt> {
    return this.postText(task, JSON.stringify(report), signal);
  }

  /** As `postResult`, with a body that need not be a report: how a broken agent would send it. */
  async postText(task: ReportedTask, text: string, signal?: AbortSignal): Promise<Receipt> {
    const named: Reporting['parameters']['path'] = { node_id: this.options.nodeId, task_id: task.taskId };
    const path = addressOf(resultPath, named);
    const headers = {
      'content-type': 'application/json',
      'x-correlation-id': task.correlationId,
      ...(task.traceparent === null ? {} : { traceparent: task.traceparent }),
    };
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
    if (reply.status === 409 && code === fenced) return 'fenced';
    if (reply.status === 404 && code === unknownTask) return 'unknown';
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

/** A path of the contract with its parameters in place, and the query in the order of its members. */
function addressOf(
  path: keyof paths,
  named: Readonly<Record<string, string>>,
  query: Readonly<Record<string, string | number>> = {},
): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => named[name] ?? '');
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) asked.set(name, String(value));
  return asked.size === 0 ? filled : `${filled}?${asked.toString()}`;
}

const errorField: keyof components['schemas']['Error'] = 'code';

function errorCode(body: unknown): string {
  const code = isRecord(body) ? body[errorField] : undefined;
  return typeof code === 'string' ? code.slice(0, 64) : 'none';
}

const batchField = (body: unknown, name: keyof components['schemas']['NodeTaskBatch']): unknown =>
  isRecord(body) ? body[name] : undefined;

/** Everything but the tasks must fit the contract: one task that is rubbish must not cost the others. */
function readBatch(body: unknown): TaskBatch {
  const tasks = batchField(body, 'tasks');
  const schema = waitForTasks.responses[200]?.schema;
  const rest: unknown = isRecord(body) ? schema?.safeParse({ ...body, tasks: [] }).data : undefined;
  const cancel = batchField(rest, 'cancel');
  const serverTime = batchField(rest, 'server_time');
  if (!Array.isArray(tasks) || !Array.isArray(cancel) || typeof serverTime !== 'string') {
    throw new ApiUnavailable(200, 'unreadable_answer');
  }
  return {
    tasks,
    cancel: cancel.filter((id): id is string => typeof id === 'string'),
    serverTimeMs: Date.parse(serverTime),
  };
}
