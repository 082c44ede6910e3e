/** A tenant and an operator of a running platform, with all that they know and no span may tell. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { apiClient, dataOf, devToken, newKey, type ApiClient } from '../../workers/local/api-client.ts';
import type { AgentHandle, Platform } from '../../workers/local/platform.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { waitUntil } from '../../workers/local/process.ts';

const deadlineMs = 90_000;

/** Ids of a request that a caller traces. */
export interface Root {
  readonly traceId: string;
  readonly spanId: string;
  readonly correlationId: string;
}

export const newRoot = (): Root => ({
  traceId: randomBytes(16).toString('hex'),
  spanId: randomBytes(8).toString('hex'),
  correlationId: randomUUID(),
});

/** Header parameters of a mutation in a trace. */
export const tracedKey = (root: Root) => ({
  ...newKey(),
  traceparent: `00-${root.traceId}-${root.spanId}-01`,
  'X-Correlation-Id': root.correlationId,
});

/** The public half of a new key pair, as OpenSSH writes it. */
function newPublicKey(): string {
  const { x = '' } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const field = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(Buffer.from(x, 'base64url'))]);
  return `ssh-ed25519 ${blob.toString('base64')} tenant`;
}

export interface Tenant {
  readonly user: ApiClient;
  readonly admin: ApiClient;
  readonly projectId: string;
  /** What must be in no span and no log. */
  readonly secrets: readonly string[];
}

export async function openTenant(platform: Platform): Promise<Tenant> {
  const realmUser = REALM.users.find(({ username }) => username === 'dev-user');
  if (realmUser === undefined) throw new Error('the realm has no dev-user');
  const userToken = await devToken(platform.issuerUrl, realmUser.username, realmUser.password);
  const adminToken = await devToken(platform.issuerUrl, 'dev-admin', 'admin123');
  const user = apiClient(platform.apiUrl, userToken);
  const publicKey = newPublicKey();
  dataOf(
    'registering the key',
    await user.POST('/api/v1/ssh-keys', {
      params: { header: newKey() },
      body: { name: 'tenant', public_key: publicKey },
    }),
  );
  const me = dataOf('reading the identity', await user.GET('/api/v1/auth/personal'));
  return {
    user,
    admin: apiClient(platform.apiUrl, adminToken),
    projectId: me.default_project.id,
    secrets: [userToken, adminToken, publicKey.split(' ')[1] ?? publicKey, 'dev-user', realmUser.email],
  };
}

/** Registers a node and starts its agent. */
export async function addNode(
  platform: Platform,
  tenant: Tenant,
  node: { readonly name: string; readonly sku: string; readonly gpuCount: number },
  env: Readonly<Record<string, string>>,
): Promise<AgentHandle & { readonly secret: string }> {
  const { id, agent_secret: secret } = dataOf(
    'registering the node',
    await tenant.admin.POST('/api/v1/admin/nodes', {
      params: { header: newKey() },
      body: { name: node.name, sku: node.sku, ssh_host: '127.0.0.1', ssh_port: 2222 },
    }),
  );
  const agent = await platform.startAgent({ id, secret, gpuCount: node.gpuCount, env: { ...env } });
  await waitUntil(
    async () => {
      const params = { path: { node_id: id } };
      return (
        dataOf('the node', await tenant.admin.GET('/api/v1/admin/nodes/{node_id}', { params })).state ===
        'available'
      );
    },
    { deadlineMs, onTimeout: () => `node ${node.name} is not available` },
  );
  return { ...agent, secret };
}

/** Allocates within a trace and waits until it is active. @returns the id. */
export async function allocate(tenant: Tenant, sku: string, root: Root): Promise<string> {
  const { id } = dataOf(
    'allocating',
    await tenant.user.POST('/api/v1/allocations', {
      params: { header: tracedKey(root) },
      body: { project_id: tenant.projectId, sku },
    }),
  );
  await untilState(tenant, id, 'active');
  return id;
}

/** Releases within a trace and waits for the end. */
export async function release(tenant: Tenant, id: string, root: Root): Promise<void> {
  dataOf(
    'releasing',
    await tenant.user.POST('/api/v1/allocations/{allocation_id}/release', {
      params: { path: { allocation_id: id }, header: tracedKey(root) },
      body: {},
    }),
  );
  await untilState(tenant, id, 'released');
}

async function untilState({ user }: Tenant, id: string, wanted: string): Promise<void> {
  let last = '';
  await waitUntil(
    async () => {
      const params = { path: { allocation_id: id } };
      const now = dataOf('reading', await user.GET('/api/v1/allocations/{allocation_id}', { params }));
      last = `${now.state} ${now.failure_reason ?? ''}`;
      return now.state === wanted;
    },
    { deadlineMs, onTimeout: () => `the allocation is ${last}, not ${wanted}` },
  );
}
