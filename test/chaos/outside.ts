/** The product as processes, driven from outside: every call is repeated under its key until somebody answers. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import type { NatsConnection } from 'nats';
import { connectNats } from '../../activities/platform/nats.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { seedSkus } from '../../db/nodes/sku.store.ts';
import { devToken } from '../../workers/local/api-client.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { ensureDevPki } from '../../workers/local/pki.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { Service } from '../../workers/local/service.ts';
import { AllocationWatch } from '../harness/lab-watch.ts';
import { allocationIdOf, until, writeNodeFaults, type NodeFault } from '../harness/lab.ts';
import { auditResidue, type AuditReport, type Examined, type Expectation } from '../harness/residue.ts';

const user = 'dev-user';
const waitMs = 100_000;
const callMs = 8000;

export interface OutsideNode {
  readonly id: string;
  readonly sku: string;
  readonly root: string;
  faults(list: readonly NodeFault[]): void;
}

export interface Outside {
  readonly platform: Platform;
  readonly db: Database;
  /** All simulated nodes, in one process. */
  readonly agents: Service;
  readonly nodes: readonly OutsideNode[];
  readonly watch: AllocationWatch;
  node(sku: string): OutsideNode;
  create(sku: string): Promise<string>;
  /** As `create`, without waiting for the answer. */
  begin(sku: string): { readonly id: string; readonly answered: Promise<string> };
  release(id: string): Promise<void>;
  audit(expectations: readonly Expectation[]): Promise<Examined>;
  stop(): Promise<void>;
}

const policies: Readonly<Record<string, number>> = {
  'rate_limit.api_requests_per_minute': 1_000_000,
  'allocation.max_concurrent_per_user': 100_000,
  'allocation.task_retry_milliseconds': 50,
  'node.offline_after_seconds': 3600,
};

/** Starts the platform with a node for each SKU; its servers and processes are its own. */
export async function startOutside(skus: readonly string[]): Promise<Outside> {
  const platform = await startPlatform({ name: 'chaos', ports: 'free', ephemeral: true, testSettings: true });
  const env = (name: string): string => platform.env[name] ?? '';
  const tokens = new Map<string, string>();
  for (const { username, password } of REALM.users.filter((one) =>
    [user, 'dev-admin'].includes(one.username),
  )) {
    tokens.set(username, await devToken(platform.issuerUrl, username, password));
  }
  const call = caller(platform, tokens);
  for (const [key, value] of Object.entries(policies)) {
    await surely(`policy ${key}`, 200, () =>
      call('dev-admin', 'PUT', `/api/v1/admin/policies/${key}`, { value }),
    );
  }
  const db = openDatabase({ url: env('DATABASE_URL'), applicationName: 'chaos', max: 5 });
  const temporal = openTemporal({ address: env('TEMPORAL_ADDRESS'), namespace: env('TEMPORAL_NAMESPACE') });
  const nc = await connectNats({ url: env('NATS_URL'), name: 'chaos' });
  const { agents, nodes } = await startNodes(platform, db, call, skus);
  const personal = await surely('personal', 200, () => call(user, 'GET', '/api/v1/auth/personal'));
  const projectId = (personal['default_project'] as { id: string }).id;
  const begin = (sku: string) => {
    const key = randomUUID();
    const body = { project_id: projectId, sku };
    const id = allocationIdOf(user, key);
    const answered = surely(`creating on ${sku}`, 201, () =>
      call(user, 'POST', '/api/v1/allocations', body, key),
    );
    return { id, answered: answered.then(() => id) };
  };
  return {
    platform,
    db,
    agents,
    nodes,
    watch: new AllocationWatch(db.q),
    node: (sku) => nodes.find((node) => node.sku === sku) ?? missing(sku),
    begin,
    create: (sku) => begin(sku).answered,
    release: async (id) => {
      const key = randomUUID();
      const at = `/api/v1/allocations/${id}/release`;
      await until(`release of ${id} is accepted`, async () => {
        const answer = await surely(`releasing ${id}`, 202, () => call(user, 'POST', at, {}, key));
        return answer['state'] === 'accepted';
      });
    },
    audit: (expectations) => auditUntilClean({ db, temporal, nc, nodes }, expectations),
    stop: async () => {
      await agents.stop();
      await nc.close();
      await temporal.connection.close();
      await db.close();
      await platform.stop();
    },
  };
}

const missing = (sku: string): never => {
  throw new Error(`no node of ${sku}`);
};

type Call = (
  as: string,
  method: string,
  at: string,
  body?: unknown,
  key?: string,
) => Promise<{ status: number; body: Record<string, unknown> }>;

const caller =
  (platform: Platform, tokens: ReadonlyMap<string, string>): Call =>
  async (as, method, at, body, key = randomUUID()) => {
    const answer = await fetch(`${platform.apiUrl}${at}`, {
      method,
      signal: AbortSignal.timeout(callMs),
      headers: {
        authorization: `Bearer ${tokens.get(as) ?? ''}`,
        ...(method === 'GET' ? {} : { 'x-idempotency-key': key, 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

/** Repeats a call while nobody is there to answer it, or the answer is that it is under way. */
async function surely(
  what: string,
  wanted: number,
  call: () => ReturnType<Call>,
): Promise<Record<string, unknown>> {
  let given: Record<string, unknown> | undefined;
  let last = 'no answer';
  await until(
    what,
    async () => {
      const answer = await call().catch(() => undefined);
      if (answer === undefined) return false;
      last = `${answer.status} ${JSON.stringify(answer.body)}`;
      if (answer.status === wanted) given = answer.body;
      else if (answer.status < 500 && answer.status !== 202) throw new Error(`${what} answered ${last}`);
      return given !== undefined;
    },
    { withinMs: waitMs, state: () => last },
  );
  return given ?? {};
}

async function startNodes(platform: Platform, db: Database, call: Call, skus: readonly string[]) {
  const about = { gpuModel: 'simulated', gpuCount: 1, cpuCores: 1, memoryGib: 1, pricePerHourMinor: 1 };
  await seedSkus(
    db.q,
    skus.map((code) => ({ code, title: code, currency: 'USD', ...about })),
  );
  const folder = path.join(platform.stack.stateDir, 'nodes');
  const registered = await Promise.all(
    skus.map(async (sku) => {
      const body = { name: `node-${sku}`, sku, ssh_host: '127.0.0.1', ssh_port: 22 };
      const node = await surely(`registering ${sku}`, 201, () =>
        call('dev-admin', 'POST', '/api/v1/admin/nodes', body),
      );
      return { sku, node_id: String(node['id']), agent_secret: String(node['agent_secret']) };
    }),
  );
  mkdirSync(folder, { recursive: true });
  const file = path.join(platform.stack.stateDir, 'secrets', 'fleet.json');
  writeFileSync(file, JSON.stringify(registered), { mode: 0o600 });
  const pki = await ensureDevPki(platform.stack.stateDir);
  const agents = new Service({
    name: 'fleet',
    entry: 'workers/local/fleet/main.ts',
    logDir: path.join(platform.stack.stateDir, 'logs'),
    env: {
      FLEET_NODES_FILE: file,
      FLEET_ROOT: folder,
      AGENT_API_URL: platform.internalUrl,
      AGENT_CA_FILE: pki.INTERNAL_TLS_CA_FILE,
      AGENT_VERIFY_KEY_FILE: pki.TASK_VERIFY_KEY_FILE,
      AGENT_GPU_COUNT: '1',
    },
    probe: async () => {
      const found = await db.q.query.nodes.findMany({ columns: { state: true } });
      if (found.some((node) => node.state !== 'available')) throw new Error('not every node is available');
    },
  });
  await agents.start();
  const nodes = registered.map(({ sku, node_id: id }): OutsideNode => {
    const root = path.join(folder, id);
    return { id, sku, root, faults: (list) => writeNodeFaults(root, list) };
  });
  return { agents, nodes };
}

async function auditUntilClean(
  of: { db: Database; temporal: Client; nc: NatsConnection; nodes: readonly OutsideNode[] },
  expectations: readonly Expectation[],
): Promise<Examined> {
  let report: AuditReport = { findings: [], examined: {} };
  let trouble = '';
  const roots = new Map(of.nodes.map((node) => [node.id, node.root]));
  await until(
    'no residue',
    async () => {
      try {
        report = await auditResidue({ q: of.db.q, temporal: of.temporal, nc: of.nc, roots }, expectations);
        return report.findings.length === 0;
      } catch (error) {
        // A connection of this side that was cut by the kill.
        trouble = String(error);
        return false;
      }
    },
    { withinMs: 60_000, state: () => [report.findings, trouble] },
  );
  return report.examined;
}
