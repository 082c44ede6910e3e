/** Registers nodes and runs the loop-back agents for them. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiClient, dataOf, devToken, newKey } from '../../workers/local/api-client.ts';
import type { Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { Service } from '../../workers/local/service.ts';
import type { PolicyKey } from '../../contracts/policies.ts';

export const benchSku = 'h100-8x';
const availableDeadlineMs = 30_000;

/** When an agent had a task in its hands, in ms since the epoch. */
export interface Arrival {
  readonly task_id: string;
  readonly allocation_id: string;
  readonly kind: string;
  readonly at: number;
}

export interface Fleet {
  readonly service: Service;
  /** Every task that came so far. */
  arrivals(): Arrival[];
}

/** Budgets that would answer a benchmark with 429. */
const unlimited: readonly PolicyKey[] = [
  'rate_limit.api_requests_per_minute',
  'allocation.max_concurrent_per_user',
];
const unlimitedValue = 1_000_000_000;

/** Raises, as an admin would, the limits that are there to stop what a benchmark does. */
export async function liftLimits(platform: Platform): Promise<void> {
  const admin = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-admin', 'admin123'));
  for (const key of unlimited) {
    const answer = await admin.PUT('/api/v1/admin/policies/{policy_key}', {
      params: { path: { policy_key: key }, header: newKey() },
      body: { value: unlimitedValue },
    });
    dataOf(`setting ${key}`, answer);
  }
}

export interface RegisteredNode {
  readonly id: string;
  readonly secret: string;
}

/** Registers nodes through the API. */
export async function registerNodes(platform: Platform, count: number): Promise<RegisteredNode[]> {
  const admin = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-admin', 'admin123'));
  const nodes: RegisteredNode[] = [];
  for (let serial = 1; serial <= count; serial += 1) {
    const body = { name: `bench-node-${serial}`, sku: benchSku, ssh_host: '127.0.0.1', ssh_port: 2222 };
    const answer = await admin.POST('/api/v1/admin/nodes', { params: { header: newKey() }, body });
    const node = dataOf('registering a node', answer);
    nodes.push({ id: node.id, secret: node.agent_secret });
  }
  return nodes;
}

/** Registers `count` nodes, starts their agents, and waits until all of them are available. */
export async function startFleet(platform: Platform, count: number): Promise<Fleet> {
  const nodes = await registerNodes(platform, count);
  const dir = path.join(platform.stack.stateDir, 'bench');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const nodesFile = path.join(dir, 'nodes.json');
  const arrivalsFile = path.join(dir, 'arrivals.ndjson');
  rmSync(arrivalsFile, { force: true });
  writeFileSync(nodesFile, JSON.stringify(nodes), { mode: 0o600 });
  const service = new Service({
    name: 'agents',
    entry: 'test/bench/loopback-agent.ts',
    logDir: path.join(platform.stack.stateDir, 'logs'),
    env: {
      BENCH_NODES_FILE: nodesFile,
      BENCH_ARRIVALS_FILE: arrivalsFile,
      AGENT_API_URL: platform.internalUrl,
      AGENT_CA_FILE: platform.env['INTERNAL_TLS_CA_FILE'] ?? '',
      AGENT_VERIFY_KEY_FILE: platform.env['TASK_VERIFY_KEY_FILE'] ?? '',
    },
    probe: async () => {
      if (!existsSync(service.logFile()) || !readFileSync(service.logFile(), 'utf8').includes('ready')) {
        throw new Error('the agents have said nothing yet');
      }
    },
  });
  await service.start();
  await untilAvailable(platform, count);
  return { service, arrivals: () => readArrivals(arrivalsFile) };
}

/** Waits until so many nodes are available and free. */
export const untilAvailable = (platform: Platform, count: number): Promise<void> =>
  waitUntil(async () => (await countAvailable(platform)) >= count, {
    deadlineMs: availableDeadlineMs,
    pollMs: 200,
    onTimeout: () => 'the nodes did not become available',
  });

async function countAvailable(platform: Platform): Promise<number> {
  const admin = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-admin', 'admin123'));
  const query = { state: 'available', occupancy: 'free', limit: 100 } as const;
  return dataOf('listing nodes', await admin.GET('/api/v1/admin/nodes', { params: { query } })).items.length;
}

function readArrivals(file: string): Arrival[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Arrival);
}
