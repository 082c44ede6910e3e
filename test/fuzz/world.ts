/** The running product as the fuzzer needs it: no limits in the way, and one of everything that an id can name. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import path from 'node:path';
import { importJWK, SignJWT } from 'jose';
import { apiClient, dataOf, devToken, newKey, type ApiClient } from '../../workers/local/api-client.ts';
import { startAgents, type Fleet } from '../../workers/local/fleet/fleet.ts';
import { loadKeys, signingKey } from '../../workers/local/issuer/keys.ts';
import { DEV_ORG_ID, REALM } from '../../workers/local/issuer/realm.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { makeLetters } from './letters.ts';

const liveSku = 'h100-8x';
const liveNodes = 4;
/** Its one node has no agent: the fuzzer plays it. */
const playedSku = 'a100-8x';
const tokenLifetimeSeconds = 12 * 3600;
const sshKeys = 24;
const sessions = 8;
const stepDeadlineMs = 30_000;

export interface FuzzWorld {
  readonly apiUrl: string;
  readonly internalUrl: string;
  readonly caFile: string;
  /** An admin's, good for the whole run. */
  readonly adminToken: string;
  /** Of the node that the fuzzer plays. */
  readonly nodeSecret: string;
  /** Folder of the dictionaries that schemathesis.toml names. */
  readonly factsDir: string;
  stop(): Promise<void>;
}

type Facts = Readonly<Record<string, readonly string[]>>;

/** Starts everything; takes some 20 s. */
export async function startFuzzWorld(): Promise<FuzzWorld> {
  const platform = await startPlatform({
    name: 'fuzz',
    ports: 'free',
    ephemeral: true,
    testSettings: true,
    env: { LOG_LEVEL: 'warn' },
  });
  let fleet: Fleet | undefined;
  const stop = async (): Promise<void> => {
    await fleet?.stop();
    await platform.stop();
  };
  try {
    const adminToken = await longToken(platform);
    const admin = apiClient(platform.apiUrl, adminToken);
    await raiseLimits(admin);
    fleet = await startFleet(platform, admin);
    const played = await registerNode(admin, 'fuzz-played', playedSku);
    const facts = await makeFacts(platform, admin, played);
    const factsDir = path.join(platform.stack.stateDir, 'fuzz-facts');
    writeFacts(factsDir, facts);
    return {
      apiUrl: platform.apiUrl,
      internalUrl: platform.internalUrl,
      caFile: platform.env['INTERNAL_TLS_CA_FILE'] ?? '',
      adminToken,
      nodeSecret: played.secret,
      factsDir,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A token of dev-admin under the issuer's own key that outlives the run. */
async function longToken(platform: Platform): Promise<string> {
  const jwk = signingKey(loadKeys(path.join(platform.stack.stateDir, 'issuer')));
  const key = await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], 'RS256');
  const { sub, roles } = userNamed('dev-admin');
  return await new SignJWT({ typ: 'Bearer', org_id: DEV_ORG_ID, realm_access: { roles } })
    .setProtectedHeader({ alg: 'RS256', kid: jwk.kid })
    .setIssuer(platform.issuerUrl)
    .setAudience(REALM.audience)
    .setSubject(sub)
    .setIssuedAt()
    .setExpirationTime(`${tokenLifetimeSeconds}s`)
    .sign(key);
}

function userNamed(username: string): (typeof REALM.users)[number] {
  const found = REALM.users.find((user) => user.username === username);
  if (found === undefined) throw new Error(`the realm has no ${username}`);
  return found;
}

async function raiseLimits(admin: ApiClient): Promise<void> {
  const { items } = dataOf('reading the policies', await admin.GET('/api/v1/admin/policies'));
  const raised = items.filter(
    ({ key }) => key.startsWith('rate_limit.') || key === 'allocation.max_concurrent_per_user',
  );
  for (const { key } of raised) {
    const set = await admin.PUT('/api/v1/admin/policies/{policy_key}', {
      params: { path: { policy_key: key }, header: newKey() },
      body: { value: 1_000_000_000 },
    });
    dataOf(`raising ${key}`, set);
  }
}

interface PlayedNode {
  readonly id: string;
  readonly secret: string;
}

async function registerNode(admin: ApiClient, name: string, sku: string): Promise<PlayedNode> {
  const body = { name, sku, ssh_host: '127.0.0.1', ssh_port: 2222 };
  const registered = await admin.POST('/api/v1/admin/nodes', { params: { header: newKey() }, body });
  const { id, agent_secret: secret } = dataOf(`registering ${name}`, registered);
  return { id, secret };
}

async function startFleet(platform: Platform, admin: ApiClient): Promise<Fleet> {
  const nodes = [];
  for (let index = 1; index <= liveNodes; index += 1) {
    const { id, secret } = await registerNode(admin, `fuzz-${index}`, liveSku);
    nodes.push({ nodeId: id, secret });
  }
  return startAgents({
    nodes,
    apiUrl: platform.internalUrl,
    caFile: platform.env['INTERNAL_TLS_CA_FILE'] ?? '',
    verifyKeyFile: platform.env['TASK_VERIFY_KEY_FILE'] ?? '',
    rootDirectory: path.join(platform.stack.stateDir, 'nodes'),
  });
}

/** One of everything: what is asked for by id exists for at least one id. */
async function makeFacts(platform: Platform, admin: ApiClient, played: PlayedNode): Promise<Facts> {
  const peer = userNamed('peer-user');
  const peerClient = apiClient(
    platform.apiUrl,
    await devToken(platform.issuerUrl, peer.username, peer.password),
  );
  dataOf('reading the peer', await peerClient.GET('/api/v1/auth/personal'));
  const me = dataOf('reading the identity', await admin.GET('/api/v1/auth/personal'));
  const project = await admin.POST('/api/v1/projects', {
    params: { header: newKey() },
    body: { name: 'fuzz', display_name: 'Fuzz' },
  });
  const projects = [me.default_project.id, dataOf('creating a project', project).id];
  for (const project_id of projects) {
    const added = await admin.PUT('/api/v1/projects/{project_id}/members/{user_id}', {
      params: { path: { project_id, user_id: peer.sub }, header: newKey() },
    });
    dataOf('adding the peer', added);
  }
  const keys = [];
  for (let index = 0; index < 4; index += 1) {
    const made = await admin.POST('/api/v1/ssh-keys', {
      params: { header: newKey() },
      body: { name: `fuzz ${index}`, public_key: newPublicKey() },
    });
    keys.push(dataOf('registering a key', made).id);
  }
  // The first contact makes the node available.
  await untilAvailable(admin, playedSku, () => callPlayed(platform, played));
  await untilAvailable(admin, liveSku, () => Promise.resolve());
  const projectId = me.default_project.id;
  const allocations = [];
  const operations = [];
  for (const sku of [liveSku, liveSku, playedSku]) {
    const allocation = await allocate(admin, projectId, sku);
    allocations.push(allocation);
    if (sku === liveSku) await untilActive(admin, allocation);
  }
  const releasable = await allocate(admin, projectId, liveSku);
  await untilActive(admin, releasable);
  const released = await admin.POST('/api/v1/allocations/{allocation_id}/release', {
    params: { path: { allocation_id: allocations[0] ?? '' }, header: newKey() },
    body: {},
  });
  operations.push(dataOf('releasing', released).id);
  return {
    project: projects,
    user: [peer.sub, me.user_id],
    sku: [liveSku, playedSku, 'h100-1x'],
    ssh_key: keys,
    public_key: Array.from({ length: sshKeys }, newPublicKey),
    allocation: allocations,
    releasable: [releasable],
    operation: operations,
    node: [played.id],
    task: await offeredTasks(platform, played),
    refresh_token: await refreshTokens(platform.issuerUrl),
    ...(await makeLetters(platform, admin)),
  };
}

async function allocate(admin: ApiClient, projectId: string, sku: string): Promise<string> {
  const body = { project_id: projectId, sku, scheduler_type: 'bare_metal' } as const;
  const created = await admin.POST('/api/v1/allocations', { params: { header: newKey() }, body });
  const allocation = dataOf(`allocating ${sku}`, created);
  if (!('state' in allocation)) throw new Error(`allocating ${sku} gave no allocation`);
  return allocation.id;
}

async function untilActive(admin: ApiClient, id: string): Promise<void> {
  const look = async (): Promise<boolean> => {
    const path = { allocation_id: id };
    const seen = await admin.GET('/api/v1/allocations/{allocation_id}', { params: { path } });
    return dataOf('reading the allocation', seen).state === 'active';
  };
  await waitUntil(look, { deadlineMs: stepDeadlineMs, onTimeout: () => `${id} is not active` });
}

async function untilAvailable(admin: ApiClient, sku: string, call: () => Promise<unknown>): Promise<void> {
  const look = async (): Promise<boolean> => {
    await call();
    const { items } = dataOf('reading the catalogue', await admin.GET('/api/v1/catalog/skus'));
    return (items.find(({ code }) => code === sku)?.available ?? 0) > 0;
  };
  await waitUntil(look, { deadlineMs: stepDeadlineMs, onTimeout: () => `no ${sku} is available` });
}

/** The ids of the tasks that the played node is offered, once there is one. */
async function offeredTasks(platform: Platform, played: PlayedNode): Promise<string[]> {
  let tasks: string[] = [];
  const look = async (): Promise<boolean> => {
    const batch = (await callPlayed(platform, played)) as { tasks: { payload: string }[] };
    tasks = batch.tasks.map(({ payload }) => (JSON.parse(payload) as { task_id: string }).task_id);
    return tasks.length > 0;
  };
  await waitUntil(look, {
    deadlineMs: stepDeadlineMs,
    onTimeout: () => 'the played node was offered no task',
  });
  return tasks;
}

/** One poll of the played node. */
function callPlayed(platform: Platform, { id, secret }: PlayedNode): Promise<unknown> {
  const ca = readFileSync(platform.env['INTERNAL_TLS_CA_FILE'] ?? '');
  const url = `${platform.internalUrl}/internal/v1/nodes/${id}/tasks/wait?hold_seconds=0`;
  return new Promise((resolve, reject) => {
    const call = request(url, { ca, headers: { authorization: `Bearer ${secret}` } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        if (answer.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`the poll of the played node answered ${answer.statusCode}`));
      });
    });
    call.on('error', reject);
    call.end();
  });
}

/** Sessions that the API can renew, each once. */
async function refreshTokens(issuerUrl: string): Promise<string[]> {
  const { username, password } = userNamed('peer-user');
  const tokens = [];
  for (let index = 0; index < sessions; index += 1) {
    const answer = await fetch(`${issuerUrl}/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'password',
        client_id: REALM.client.id,
        client_secret: REALM.client.secret,
        username,
        password,
      }),
    });
    const { refresh_token: token } = (await answer.json()) as { refresh_token?: string };
    if (token === undefined) throw new Error(`the issuer answered ${answer.status} without a refresh token`);
    tokens.push(token);
  }
  return tokens;
}

/** An OpenSSH line of a fresh Ed25519 key. */
function newPublicKey(): string {
  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const field = (bytes: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(raw)]);
  return `ssh-ed25519 ${blob.toString('base64')}`;
}

function writeFacts(dir: string, facts: Facts): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const [name, values] of Object.entries(facts)) {
    const lines = values.map((value) => JSON.stringify(value)).join('\n');
    writeFileSync(path.join(dir, `${name}.dict`), `${lines}\n`, { mode: 0o600 });
  }
}
