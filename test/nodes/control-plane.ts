/** The plane's end of the node-task protocol, in memory: what an agent talks to in these tests. */
import { createPrivateKey, randomUUID, sign, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  nodeTaskResults,
  nodeTaskSchema,
  postTaskResult,
  waitForTasks,
  type NodeTask,
} from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { Waker } from '../../workers/node-agent/waker.ts';
import { ensureDevPki, type DevPki } from '../../workers/local/pki.ts';

export type Report = ReturnType<(typeof postTaskResult.body)['parse']>;
type ParamsOf<K extends NodeTaskKind> = Extract<NodeTask, { kind: K }>['params'];

export interface PlanTask {
  readonly id: string;
  readonly fence: number;
  readonly raw: { payload: string; signature: string };
  readonly task: NodeTask | undefined;
  state: 'open' | 'done' | 'superseded' | 'withheld';
  offers: number;
  cancelled: boolean;
  /** Bodies that arrived, as they were parsed; `undefined` for what fits no schema. */
  readonly reports: (Report | undefined)[];
  readonly statuses: number[];
}

export interface QueueOptions {
  readonly allocationId?: string | null;
  readonly fence?: number;
  readonly taskId?: string;
  readonly nodeId?: string;
  readonly expiresInMs?: number;
  readonly key?: KeyObject;
}

/**
 * Polls a condition until it holds.
 * @throws when it does not within the deadline.
 */
export async function until(what: string, condition: () => boolean, deadlineMs = 55_000): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await delay(2);
  }
}

export class ControlPlane {
  readonly nodeId = randomUUID();
  readonly secret = randomUUID();
  readonly directory: string;
  readonly pki: DevPki;
  readonly secretFile: string;
  readonly tasks = new Map<string, PlanTask>();
  readonly polls: { running: string[]; holdSeconds: number }[] = [];
  /** Offset of the plane's clock against this machine's, milliseconds. */
  clockSkewMs = 0;
  /** Status to answer everything with, while set. */
  outage: number | undefined;
  /** Whether reports are answered. */
  deafToReports = false;
  pollsInFlight = 0;
  mostPollsInFlight = 0;
  requests = 0;
  connections = 0;
  port = 0;
  private fence = 0;
  private readonly changed = new Waker();
  private readonly signingKey: KeyObject;
  private server: Server | undefined;

  private constructor(directory: string, pki: DevPki) {
    this.directory = directory;
    this.pki = pki;
    this.secretFile = path.join(directory, 'agent.secret');
    this.signingKey = createPrivateKey(readFileSync(pki.TASK_SIGNING_KEY_FILE));
    writeFileSync(this.secretFile, `${this.secret}\n`, { mode: 0o600 });
  }

  static async start(): Promise<ControlPlane> {
    const directory = mkdtempSync(path.join(tmpdir(), 'gpuaas-agent-'));
    const plane = new ControlPlane(directory, await ensureDevPki(path.join(directory, 'pki')));
    await plane.listen();
    return plane;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** Opens the door; the same port as before, if there was one. */
  async listen(): Promise<void> {
    const server = createServer(
      {
        cert: readFileSync(this.pki.INTERNAL_TLS_CERT_FILE),
        key: readFileSync(this.pki.INTERNAL_TLS_KEY_FILE),
      },
      (request, response) => void this.answer(request, response),
    );
    server.on('secureConnection', () => (this.connections += 1));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.port = address.port;
    this.server = server;
  }

  /** Shuts the door in everybody's face. */
  async shut(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  async close(): Promise<void> {
    await this.shut();
    rmSync(this.directory, { recursive: true, force: true });
  }

  queue<K extends NodeTaskKind>(kind: K, params: ParamsOf<K>, options: QueueOptions = {}): PlanTask {
    const fence = options.fence ?? (this.fence += 1);
    this.fence = Math.max(this.fence, fence);
    const now = Date.now() + this.clockSkewMs;
    const payload = JSON.stringify({
      task_id: options.taskId ?? randomUUID(),
      node_id: options.nodeId ?? this.nodeId,
      allocation_id:
        options.allocationId === undefined ? (params.allocation_id ?? null) : options.allocationId,
      kind,
      params,
      fence,
      issued_at: new Date(now).toISOString(),
      expires_at: new Date(now + (options.expiresInMs ?? 60_000)).toISOString(),
      correlation_id: `test-${fence}`,
      traceparent: null,
    });
    return this.queueRaw(payload, options.key);
  }

  /** Queues any bytes, properly signed unless another key is given. */
  queueRaw(payload: string, key: KeyObject = this.signingKey): PlanTask {
    return this.queueSigned({
      payload,
      signature: sign(null, Buffer.from(payload), key).toString('base64url'),
    });
  }

  queueSigned(raw: { payload: string; signature: string }): PlanTask {
    const task = parseTask(raw.payload);
    const entry: PlanTask = {
      id: task?.task_id ?? randomUUID(),
      fence: task?.fence ?? 0,
      raw,
      task,
      state: 'open',
      offers: 0,
      cancelled: false,
      reports: [],
      statuses: [],
    };
    this.tasks.set(entry.id, entry);
    this.changed.wake();
    return entry;
  }

  cancel(task: PlanTask): void {
    task.cancelled = true;
    this.changed.wake();
  }

  /** Offers a task once more, whatever became of it. */
  reopen(task: PlanTask): void {
    task.state = 'open';
    this.changed.wake();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    const reply = (status: number, body: unknown): void => {
      if (response.destroyed) return;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const refuse = (status: number, code: string): void =>
      reply(status, { code, message: code, correlation_id: 'x' });
    const url = new URL(request.url ?? '/', this.url);
    const body = await textOf(request);
    if (this.outage !== undefined) return refuse(this.outage, 'service_unavailable');
    if (request.headers.authorization !== `Bearer ${this.secret}`) return refuse(401, 'token_invalid');
    const base = `/internal/v1/nodes/${this.nodeId}/tasks`;
    if (request.method === 'GET' && url.pathname === `${base}/wait`) return this.poll(url, response, reply);
    const taskId = new RegExp(`^${base}/([0-9a-f-]+)/result$`).exec(url.pathname)?.[1];
    if (request.method !== 'POST' || taskId === undefined) return refuse(404, 'invalid_request');
    if (this.deafToReports) return refuse(503, 'service_unavailable');
    const task = this.tasks.get(taskId);
    const [status, answer] = this.store(task, body);
    task?.statuses.push(status);
    reply(status, answer);
  }

  private async poll(
    url: URL,
    response: ServerResponse,
    reply: (status: number, body: unknown) => void,
  ): Promise<void> {
    const query = waitForTasks.query.safeParse(Object.fromEntries(url.searchParams));
    if (!query.success)
      return reply(400, { code: 'validation_error', message: 'query', correlation_id: 'x' });
    const running = query.data.running?.split(',') ?? [];
    this.polls.push({ running, holdSeconds: query.data.hold_seconds });
    this.pollsInFlight += 1;
    this.mostPollsInFlight = Math.max(this.mostPollsInFlight, this.pollsInFlight);
    response.once('close', () => {
      this.pollsInFlight -= 1;
      this.changed.wake();
    });
    const until = performance.now() + query.data.hold_seconds * 1000;
    let found = this.look(running);
    while (
      found.tasks.length + found.cancel.length === 0 &&
      performance.now() < until &&
      !response.destroyed
    ) {
      await this.changed.wait(until - performance.now());
      found = this.look(running);
    }
    if (response.destroyed) return;
    for (const task of found.tasks) task.offers += 1;
    const serverTime = new Date(Date.now() + this.clockSkewMs).toISOString();
    const tasks = found.tasks.map((task) => task.raw);
    const answer = { tasks, cancel: found.cancel, server_time: serverTime };
    reply(200, waitForTasks.responses[200]?.schema?.parse(answer));
  }

  private look(running: readonly string[]): { tasks: PlanTask[]; cancel: string[] } {
    const open = [...this.tasks.values()].filter((task) => task.state === 'open');
    const known = new Map(open.map((task) => [task.id, task]));
    return {
      tasks: open.filter((task) => !running.includes(task.id)).sort((a, b) => a.fence - b.fence),
      cancel: running.filter((id) => known.get(id)?.cancelled !== false),
    };
  }

  private store(task: PlanTask | undefined, text: string): [number, unknown] {
    const refuse = (status: number, code: string): [number, unknown] => [
      status,
      { code, message: code, correlation_id: 'x' },
    ];
    const report = postTaskResult.body.safeParse(JSON.parse(text));
    task?.reports.push(report.data);
    if (!report.success) return refuse(400, 'validation_error');
    if (task?.task === undefined) return refuse(404, 'node_task_not_found');
    if (report.data.fence !== task.fence || task.state === 'superseded')
      return refuse(409, 'node_task_fenced');
    const { outcome } = report.data;
    if (outcome === 'succeeded' && !nodeTaskResults[task.task.kind].safeParse(report.data.result).success) {
      return refuse(400, 'validation_error');
    }
    const duplicate = task.state === 'done';
    task.state = 'done';
    return [200, { duplicate }];
  }
}

function parseTask(payload: string): NodeTask | undefined {
  try {
    return nodeTaskSchema.safeParse(JSON.parse(payload)).data;
  } catch {
    return undefined;
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
