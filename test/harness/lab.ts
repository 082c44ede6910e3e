/**
 * The whole product in this process over private servers: API, worker, relay, reconcilers and the real agents of
 * simulated nodes. The worker's activities pass through a fault plan; on demand the workers are processes of their own.
 */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { connectNats } from '../../activities/platform/nats.ts';
import { openRedis } from '../../activities/platform/redis.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { createAllocation } from '../../contracts/allocations/allocation.api.ts';
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import type { PolicyKey } from '../../contracts/policies.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { findAllocation } from '../../db/allocations/allocation.store.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { seedSkus } from '../../db/nodes/sku.store.ts';
import { createPolicyReader, setPolicy, type PolicyReader } from '../../db/ops/policy.store.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { ensureDevPki } from '../../workers/local/pki.ts';
import { PART_NAMES } from '../../workers/local/stack.ts';
import type { NodeAgent } from '../../workers/node-agent/agent.ts';
import { createAgent } from '../../workers/node-agent/create.ts';
import type { FaultBehaviour } from '../../workers/node-agent/runtime/simulated/faults.ts';
import {
  field,
  startApiHarness,
  type ApiAnswer,
  type ApiHarness,
  type DevUser,
  type RequestOptions,
} from './api.ts';
import { FaultPlan } from './faults.ts';
import { auditResidue, type AuditReport, type Examined, type Expectation } from './residue.ts';
import { AllocationWatch } from './lab-watch.ts';
import { startRelayInProcess, startWorkerInProcess, type Stoppable } from './lab-workers.ts';
import { startWorkerProcesses, type WorkerProcesses } from './worker-processes.ts';

/** Far more than anything takes: it only ends the wait for what will never come. */
const waitMs = 180_000;
const pollMs = 25;

/** Polls a condition until it holds. @throws with what was waited for, and what `state` says, when it does not. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  options: { readonly withinMs?: number; readonly state?: () => unknown } = {},
): Promise<void> {
  const deadline = performance.now() + (options.withinMs ?? waitMs);
  while (!(await condition())) {
    if (performance.now() > deadline) {
      const state = options.state === undefined ? '' : `: ${JSON.stringify(await options.state())}`;
      throw new Error(`waited in vain: ${what}${state}`);
    }
    await delay(pollMs);
  }
}

/** Misbehaviour of a node's agent, by kind of task. */
export interface NodeFault {
  readonly kind: NodeTaskKind;
  readonly behaviour: FaultBehaviour;
  readonly times?: number;
  readonly delayMs?: number;
}

/** The id that an allocation gets, known before it is asked for. */
export const allocationIdOf = (user: DevUser, key: string): string =>
  uuid5('allocation', subjectOf(user), createAllocation.id, key);

export function subjectOf(user: DevUser): string {
  const found = REALM.users.find((one) => one.username === user);
  if (found === undefined) throw new Error(`no user ${user}`);
  return found.sub;
}

/** Writes the faults of a simulated node; they strike from the next task on. */
export function writeNodeFaults(root: string, faults: readonly NodeFault[]): void {
  const list = faults.map(({ kind, behaviour, times = 1, delayMs }) => ({
    kind,
    behaviour,
    times,
    ...(delayMs === undefined ? {} : { delay_ms: delayMs }),
  }));
  writeFileSync(path.join(root, 'faults.json'), JSON.stringify(list));
}

/** A simulated node with its agent in this process. */
export interface LabNode {
  readonly id: string;
  readonly sku: string;
  readonly root: string;
  faults(list: readonly NodeFault[]): void;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface CreateOptions {
  readonly sku: string;
  readonly as?: DevUser;
  readonly key?: string;
}

export interface Lab {
  readonly api: ApiHarness;
  readonly db: Database;
  readonly temporal: Client;
  readonly nc: NatsConnection;
  readonly redis: Redis;
  readonly faults: FaultPlan;
  /** The worker's own reader; `setPolicy` refreshes it. */
  readonly policies: PolicyReader;
  readonly nodes: ReadonlyMap<string, LabNode>;
  /** Registers nodes, each of the SKU named, and waits until all are available. */
  addNodes(skus: readonly string[]): Promise<LabNode[]>;
  /** The worker's processes, where it has some. */
  readonly processes: WorkerProcesses | undefined;
  startWorker(): Promise<void>;
  stopWorker(): Promise<void>;
  setPolicy(key: PolicyKey, value: number | string | boolean): Promise<void>;
  request(method: string, at: string, options?: RequestOptions): Promise<ApiAnswer>;
  /** POST /allocations. */
  create(options: CreateOptions): Promise<ApiAnswer & { readonly id: string; readonly key: string }>;
  release(id: string, options?: { as?: DevUser; key?: string; reason?: string }): Promise<ApiAnswer>;
  forceRelease(id: string, options?: { as?: DevUser; key?: string; reason?: string }): Promise<ApiAnswer>;
  explain(id: string, as?: DevUser): Promise<Record<string, unknown>>;
  row(id: string): Promise<AllocationRow | undefined>;
  /** Waits for one of the states; a terminal state that is none of them ends the wait at once. */
  untilState(id: string, ...states: readonly AllocationState[]): Promise<AllocationRow>;
  stop(): Promise<void>;
}

export interface LabOptions {
  /** One node for each SKU code; codes that the catalogue lacks are added to it. */
  readonly nodes: readonly string[];
  /** Without a worker until `startWorker`. */
  readonly worker?: boolean;
  /** Worker processes of their own, so many; without it the worker is in this process. */
  readonly workerProcesses?: number;
  /** Added to the engine's dynamic configuration. */
  readonly dynamicConfig?: Readonly<Record<string, number>>;
  readonly policies?: Partial<Record<PolicyKey, number | string | boolean>>;
}

/** Budgets that a test can wait for; limits that no test meets by chance. */
const labPolicies: Partial<Record<PolicyKey, number | string | boolean>> = {
  'rate_limit.api_requests_per_minute': 1_000_000,
  'allocation.max_concurrent_per_user': 100_000,
  'allocation.task_retry_milliseconds': 20,
  'allocation.task_attempts': 3,
  'node.offline_after_seconds': 3600,
};

/** Starts it all; every file has its own. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { workerProcesses: count, dynamicConfig } = options;
  const api = await startApiHarness({ parts: PART_NAMES, ...(dynamicConfig && { dynamicConfig }) });
  const env = (name: string): string => api.stack.env[name] ?? '';
  const db = openDatabase({ url: env('DATABASE_URL'), applicationName: 'lab-worker', max: 20 });
  const redis = openRedis(env('REDIS_URL'), 'lab-worker');
  const temporal = openTemporal({ address: env('TEMPORAL_ADDRESS'), namespace: env('TEMPORAL_NAMESPACE') });
  const nc = await connectNats({ url: env('NATS_URL'), name: 'lab' });
  const policies = createPolicyReader(db.q);
  const faults = new FaultPlan();
  const nodes = new Map<string, LabNode>();
  const write = (key: PolicyKey, value: number | string | boolean) =>
    db.tx((tx) => setPolicy(tx, key, value));
  for (const [key, value] of Object.entries({ ...labPolicies, ...options.policies })) {
    await write(key as PolicyKey, value);
  }
  const relay = await startRelayInProcess(api.stack);
  let worker: Stoppable | undefined;
  let processes: WorkerProcesses | undefined;
  const startWorker = async (): Promise<void> => {
    const { stack, stateDir: folder } = api;
    if (count === undefined) {
      worker = await startWorkerInProcess({ stack, db, redis, policies, faults, temporal });
    } else worker = processes = await startWorkerProcesses({ stack, folder, plan: faults, count });
  };
  const stopWorker = async (): Promise<void> => {
    await worker?.stop();
    worker = processes = undefined;
  };
  if (options.worker !== false) await startWorker();
  const addNodes = (skus: readonly string[]) => addLabNodes(api, nodes, skus);
  await addNodes(options.nodes);
  return {
    api,
    db,
    temporal,
    nc,
    redis,
    faults,
    policies,
    nodes,
    addNodes,
    get processes() {
      return processes;
    },
    startWorker,
    stopWorker,
    setPolicy: async (key, value) => {
      await adminSetsPolicy(api, key, value);
      policies.refresh();
    },
    ...commandsOf(api, db),
    stop: async () => {
      await Promise.all([...nodes.values()].map((node) => node.stop()));
      await stopWorker();
      await relay.stop();
      await nc.close();
      await temporal.connection.close();
      redis.disconnect();
      await db.close();
      await api.stop();
    },
  };
}

async function adminSetsPolicy(
  api: ApiHarness,
  key: PolicyKey,
  value: number | string | boolean,
): Promise<void> {
  const answer = await api.request('PUT', `/api/v1/admin/policies/${key}`, {
    as: 'dev-admin',
    body: { value },
  });
  if (answer.status !== 200) throw new Error(`setting ${key} answered ${answer.status}`);
}

async function addLabNodes(
  api: ApiHarness,
  nodes: Map<string, LabNode>,
  skus: readonly string[],
): Promise<LabNode[]> {
  if (skus.length === 0) return [];
  await seedSkus(
    api.db.q,
    [...new Set(skus)].map((code) => ({
      code,
      title: code,
      gpuModel: 'simulated',
      gpuCount: 1,
      cpuCores: 1,
      memoryGib: 1,
      pricePerHourMinor: 100,
      currency: 'USD',
    })),
  );
  const added = await Promise.all(skus.map((sku) => addLabNode(api, sku)));
  for (const node of added) nodes.set(node.id, node);
  await until('every node is available', async () => {
    const found = await api.db.q.query.nodes.findMany({ columns: { id: true, state: true } });
    const available = new Set(found.filter((node) => node.state === 'available').map((node) => node.id));
    return added.every((node) => available.has(node.id));
  });
  return added;
}

async function addLabNode(api: ApiHarness, sku: string): Promise<LabNode> {
  const registered = await api.request('POST', '/api/v1/admin/nodes', {
    as: 'dev-admin',
    body: { name: `node-${randomUUID()}`, sku, ssh_host: '127.0.0.1', ssh_port: 22 },
  });
  if (registered.status !== 201) throw new Error(`registering a node answered ${registered.status}`);
  const id = String(field(registered, 'id'));
  const root = path.join(api.stateDir, 'nodes', id);
  const secretFile = path.join(api.stateDir, `${id}.secret`);
  writeFileSync(secretFile, String(field(registered, 'agent_secret')), { mode: 0o600 });
  const { TASK_VERIFY_KEY_FILE: verifyKeyFile } = await ensureDevPki(path.join(api.stateDir, 'pki'));
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const make = (): NodeAgent =>
    createAgent(
      {
        nodeId: id,
        secretFile,
        apiUrl: api.api.internalUrl,
        caFile: api.caFile,
        verifyKeyFile,
        mode: 'simulated',
        root,
        stateDirectory: path.join(root, 'var/lib/gpuaas-node-agent'),
        gpuCount: 1,
        holdSeconds: 25,
        wipeableDevices: [],
      },
      quiet,
    );
  let agent = make();
  await agent.start();
  return {
    id,
    sku,
    root,
    faults: (list) => writeNodeFaults(root, list),
    stop: () => agent.stop(),
    start: async () => {
      agent = make();
      await agent.start();
    },
  };
}

function commandsOf(api: ApiHarness, db: Database) {
  const watch = new AllocationWatch(db.q);
  const projects = new Map<DevUser, Promise<string>>();
  const projectOf = (user: DevUser): Promise<string> => {
    const known = projects.get(user) ?? defaultProject(api, user);
    projects.set(user, known);
    return known;
  };
  const row = (id: string) => findAllocation(db.q, id);
  return {
    request: api.request,
    row,
    create: async ({ sku, as = 'dev-user', key = randomUUID() }: CreateOptions) => {
      const body = { project_id: await projectOf(as), sku };
      const answer = await api.request('POST', '/api/v1/allocations', { as, key, body });
      return { ...answer, id: allocationIdOf(as, key), key };
    },
    release: (
      id: string,
      { as = 'dev-user', key, reason }: { as?: DevUser; key?: string; reason?: string } = {},
    ) =>
      api.request('POST', `/api/v1/allocations/${id}/release`, {
        as,
        ...(key === undefined ? {} : { key }),
        body: reason === undefined ? {} : { reason },
      }),
    forceRelease: (
      id: string,
      { as = 'dev-admin', key, reason = 'a test' }: { as?: DevUser; key?: string; reason?: string } = {},
    ) =>
      api.request('POST', `/api/v1/admin/allocations/${id}/force-release`, {
        as,
        ...(key === undefined ? {} : { key }),
        body: { reason },
      }),
    explain: async (id: string, as: DevUser = 'dev-user') => {
      const answer = await api.request('GET', `/api/v1/allocations/${id}/explain`, { as });
      if (answer.status !== 200) throw new Error(`explaining answered ${answer.status}`);
      return answer.body as Record<string, unknown>;
    },
    untilState: (id: string, ...states: readonly AllocationState[]) => watch.until(id, states, waitMs),
  };
}

async function defaultProject(api: ApiHarness, user: DevUser): Promise<string> {
  const answer = await api.request('GET', '/api/v1/auth/personal', { as: user });
  const project = field(answer, 'default_project');
  if (typeof project !== 'object' || project === null || !('id' in project))
    throw new Error('no default project');
  return String(project.id);
}

/**
 * Audits until nothing is found or the time is up: publishing and telling the engine may still be under way.
 * @throws with every finding.
 */
export async function assertNoResidue(lab: Lab, expectations: readonly Expectation[]): Promise<Examined> {
  let report: AuditReport = { findings: [], examined: {} };
  const roots = new Map([...lab.nodes.values()].map((node) => [node.id, node.root]));
  const world = { q: lab.db.q, temporal: lab.temporal, nc: lab.nc, roots };
  await until(
    'no residue',
    async () => {
      report = await auditResidue(world, expectations);
      return report.findings.length === 0;
    },
    { withinMs: 45_000, state: () => report.findings },
  );
  return report.examined;
}
