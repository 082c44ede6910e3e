/**
 * `npm run demo`: one allocation from request to release, through the public API only, on the real stack with a simulated
 * node. Prints what it did and what it found; ends with nothing left running.
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectNats } from '../../activities/platform/nats.ts';
import { readEventTrail } from '../relay/trail.ts';
import { apiClient, dataOf, devToken, newKey, type ApiClient } from './api-client.ts';
import { startPlatform, type AgentHandle, type Platform } from './platform.ts';
import { runInteractive } from './run.ts';

const sku = 'h100-8x';
const pollMs = 25;
const stateDeadlineMs = 60_000;

const print = (line = ''): void => void process.stdout.write(`${line}\n`);
const step = (title: string): void => print(`\n== ${title}`);

await runInteractive('demo', async ({ signal, log, onStop }) => {
  const begun = performance.now();
  step('the stack');
  const platform = await startPlatform({ name: 'demo', ports: 'free', wipe: true, log, testSettings: true });
  onStop(() => platform.stop());
  const user = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-user', 'dev123'));
  const admin = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-admin', 'admin123'));
  signal.throwIfAborted();

  const agent = await addNode(platform, admin, signal);
  const allocationId = await allocate(user, signal);
  showNode(agent, 'what the agent did on the simulated node');
  await showEngine(platform, admin, allocationId);
  await release(user, allocationId, signal);
  showNode(agent, 'the same places after the release');
  await showEvents(platform, allocationId);
  await showTimeline(user, allocationId);
  print(`\ndone in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
});

async function addNode(platform: Platform, admin: ApiClient, signal: AbortSignal): Promise<AgentHandle> {
  step('an admin registers a node; its agent starts');
  const node = dataOf(
    'registering the node',
    await admin.POST('/api/v1/admin/nodes', {
      params: { header: newKey() },
      body: { name: 'demo-node-1', sku, ssh_host: '127.0.0.1', ssh_port: 2222 },
    }),
  );
  const agent = await platform.startAgent({ id: node.id, secret: node.agent_secret, gpuCount: 8 });
  const until = performance.now() + stateDeadlineMs;
  for (;;) {
    signal.throwIfAborted();
    const seen = dataOf(
      'reading the node',
      await admin.GET('/api/v1/admin/nodes/{node_id}', { params: { path: { node_id: node.id } } }),
    );
    if (seen.state === 'available') break;
    if (performance.now() > until) throw new Error(`the node is ${seen.state}, not available`);
    await delay(pollMs);
  }
  print(`node ${node.name} (${sku}) is available`);
  return agent;
}

async function allocate(user: ApiClient, signal: AbortSignal): Promise<string> {
  step('dev-user registers an SSH key and allocates the node');
  const key = dataOf(
    'registering the key',
    await user.POST('/api/v1/ssh-keys', {
      params: { header: newKey() },
      body: { name: 'demo', public_key: newPublicKey() },
    }),
  );
  print(`key ${key.fingerprint}`);
  const me = dataOf('reading the identity', await user.GET('/api/v1/auth/personal'));
  const asked = performance.now();
  const created = dataOf(
    'allocating',
    await user.POST('/api/v1/allocations', {
      params: { header: newKey() },
      body: { project_id: me.default_project.id, sku },
    }),
  );
  print(`allocation ${created.id}: accepted in ${(performance.now() - asked).toFixed(0)} ms`);
  const active = await untilState(user, created.id, 'active', signal);
  print(`active after ${(performance.now() - asked).toFixed(0)} ms`);
  if (active.connection === null) throw new Error('an active allocation says how to connect');
  print(`ssh -p ${active.connection.port} ${active.connection.username}@${active.connection.host}`);
  return created.id;
}

async function untilState(user: ApiClient, id: string, wanted: string, signal: AbortSignal) {
  const until = performance.now() + stateDeadlineMs;
  for (;;) {
    signal.throwIfAborted();
    const now = dataOf(
      'reading the allocation',
      await user.GET('/api/v1/allocations/{allocation_id}', { params: { path: { allocation_id: id } } }),
    );
    if (now.state === wanted) return now;
    if (now.state === 'failed' || now.state === 'release_failed' || performance.now() > until) {
      throw new Error(
        `the allocation is ${now.state}, not ${wanted}: ${now.failure_reason ?? now.waiting_on ?? ''}`,
      );
    }
    await delay(pollMs);
  }
}

function showNode(agent: AgentHandle, title: string): void {
  step(title);
  const passwd = readFileSync(path.join(agent.root, 'etc/passwd'), 'utf8')
    .split('\n')
    .filter((line) => Number(line.split(':')[2]) >= 10_000);
  print(`etc/passwd entries of tenants: ${passwd.length === 0 ? 'none' : passwd.join(' ')}`);
  for (const entry of passwd) {
    const home = path.join(agent.root, entry.split(':')[5] ?? '');
    const keys = readFileSync(path.join(home, '.ssh/authorized_keys'), 'utf8').trim().split('\n');
    print(`home ${home.slice(agent.root.length)} exists: ${existsSync(home)}`);
    for (const key of keys) print(`authorized_keys: ${key.slice(0, 40)}...`);
  }
  const gpu = readFileSync(path.join(agent.root, 'dev/gpu0.json'), 'utf8');
  print(`gpu0: ${JSON.stringify(JSON.parse(gpu))}`);
}

async function showEngine(platform: Platform, admin: ApiClient, id: string): Promise<void> {
  step('the workflow');
  const told = dataOf(
    'explaining',
    await admin.GET('/api/v1/allocations/{allocation_id}/explain', {
      params: { path: { allocation_id: id } },
    }),
  );
  print(`it waits for: ${told.waiting_on ?? 'nothing'} (${told.who_can_unblock} can unblock it)`);
  print(`Temporal UI: ${told.workflow?.ui_url ?? platform.temporalUiUrl}`);
}

async function release(user: ApiClient, id: string, signal: AbortSignal): Promise<void> {
  step('release');
  const asked = performance.now();
  const operation = dataOf(
    'releasing',
    await user.POST('/api/v1/allocations/{allocation_id}/release', {
      params: { path: { allocation_id: id }, header: newKey() },
      body: {},
    }),
  );
  print(`operation ${operation.id}: ${operation.state}`);
  await untilState(user, id, 'released', signal);
  print(`released and proven clean after ${(performance.now() - asked).toFixed(0)} ms`);
}

async function showEvents(platform: Platform, id: string): Promise<void> {
  step('its events, read back from JetStream');
  const nc = await connectNats({ url: platform.env['NATS_URL'] ?? '', name: 'demo' });
  try {
    const trail = await readEventTrail(nc, { entityId: id, expected: 4, timeoutMs: 10_000 });
    if (trail.length < 4) throw new Error(`only ${trail.length} of 4 events are in the stream`);
    for (const event of trail)
      print(`${String(event.seq).padStart(4)}  ${event.subject}  ${event.envelope.event_id}`);
  } finally {
    await nc.close();
  }
}

async function showTimeline(user: ApiClient, id: string): Promise<void> {
  step('its timeline');
  const { items } = dataOf(
    'reading the timeline',
    await user.GET('/api/v1/allocations/{allocation_id}/timeline', {
      params: { path: { allocation_id: id } },
    }),
  );
  for (const entry of items) {
    print(`${entry.at}  +${String(entry.elapsed_ms).padStart(5)} ms  ${entry.event} -> ${entry.to_state}`);
  }
}

/** The public half of a key pair of this run, as OpenSSH writes it; the private half is thrown away. */
function newPublicKey(): string {
  const { x = '' } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const field = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(Buffer.from(x, 'base64url'))]);
  return `ssh-ed25519 ${blob.toString('base64')} demo`;
}
