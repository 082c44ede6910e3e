/**
 * The whole product on this machine: the servers, the issuer, API, worker, outbox relay, event consumers, and node-agents on
 * demand. The demo, `npm start`, the fault tests and the benchmarks all run this one composition.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openDatabase } from '../../db/client.ts';
import { migrate } from '../../db/migrate.ts';
import { seed } from '../../db/seed.ts';
import { startIssuer } from './issuer/embedded.ts';
import { startKeycloak } from './issuer/keycloak.ts';
import type { IssuerHandle } from './issuer/handle.ts';
import { ensureDevPki } from './pki.ts';
import { assertPortFree, reserveFreePort } from './ports.ts';
import { Service } from './service.ts';
import { startStack, type Stack, type StackOptions } from './stack.ts';
import { loadStackConfig } from './stack-config.ts';

export interface PlatformOptions extends Pick<
  StackOptions,
  'name' | 'ports' | 'wipe' | 'ephemeral' | 'log' | 'testSettings'
> {
  readonly issuer?: 'embedded' | 'keycloak';
  /** Added to the environment of API, worker, relay and consumers. */
  readonly env?: Readonly<Record<string, string>>;
  /** A process of the product, or an agent, ended although nobody stopped it; told to `log` unless given. */
  readonly onServiceExit?: (service: Service, message: string) => void;
}

export type ServiceName = 'api' | 'worker' | 'relay' | 'consumers';

export interface Platform {
  readonly stack: Stack;
  readonly services: Readonly<Record<ServiceName, Service>>;
  readonly issuer: IssuerHandle;
  readonly apiUrl: string;
  readonly internalUrl: string;
  readonly issuerUrl: string;
  readonly temporalUiUrl: string;
  /** Prometheus endpoints of our own processes. */
  readonly metricsUrls: Readonly<Record<'api' | 'relay' | 'consumers' | 'worker', string>>;
  readonly env: Readonly<Record<string, string>>;
  /** A simulated node's agent, started and in its loop. `secret` comes from the node's registration. */
  startAgent(node: {
    id: string;
    secret: string;
    gpuCount: number;
    env?: Record<string, string>;
  }): Promise<AgentHandle>;
  stop(): Promise<void>;
}

export interface AgentHandle {
  readonly service: Service;
  /** Root folder of the simulated node. */
  readonly root: string;
}

const nodeOptions = ['--enable-source-maps'];

/** Starts everything; a second start of the same name finds its data again. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const log = options.log ?? (() => undefined);
  const stack = await startStack(options);
  const started: { stop(): Promise<void> }[] = [stack];
  const stop = async () => {
    // In reverse: nothing loses what it still needs.
    for (const part of started.splice(0).reverse()) await part.stop();
  };
  try {
    return await startServices(options, stack, started, stop, log);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startServices(
  options: PlatformOptions,
  stack: Stack,
  started: { stop(): Promise<void> }[],
  stop: () => Promise<void>,
  log: (line: string) => void,
): Promise<Platform> {
  const ports = await choosePorts(options.ports);
  const pki = await ensureDevPki(stack.stateDir);
  const [issuer] = await Promise.all([
    startIssuerOf(options.issuer ?? 'embedded', ports.issuer, stack.stateDir),
    migrateAndSeed(stack),
  ]);
  started.push(issuer);
  const env = {
    ...stack.env,
    ...pki,
    ...secretFiles(stack.stateDir),
    GPUAAS_ENV: 'development',
    LOG_LEVEL: 'info',
    KEYCLOAK_ISSUER_URL: issuer.issuerUrl,
    API_PORT: String(ports.api),
    INTERNAL_PORT: String(ports.internal),
    RECONCILE_EVERY_MS: '1000',
    ...options.env,
  };
  const exited = options.onServiceExit ?? ((_service: Service, message: string) => log(message));
  const services = createServices(stack, env, ports, exited);
  const all = Object.values(services);
  started.push({ stop: async () => void (await Promise.all(all.map((service) => service.stop()))) });
  await Promise.all(all.map((service) => service.start()));
  log(`api, worker, relay and consumers run`);
  const internalUrl = `https://127.0.0.1:${ports.internal}`;
  return {
    stack,
    services,
    issuer,
    apiUrl: `http://127.0.0.1:${ports.api}`,
    internalUrl,
    issuerUrl: issuer.issuerUrl,
    temporalUiUrl: stack.env['TEMPORAL_UI_URL'] ?? '',
    metricsUrls: metricsUrlsOf(ports),
    env,
    startAgent: (node) => startAgent({ stack, pki, internalUrl, started, exited }, node),
    stop,
  };
}

interface Ports {
  readonly api: number;
  readonly internal: number;
  readonly issuer: number;
  readonly relayMetrics: number;
  readonly consumersMetrics: number;
  readonly workerMetrics: number;
}

const metricsUrlsOf = (ports: Ports): Platform['metricsUrls'] => {
  const at = (port: number): string => `http://127.0.0.1:${port}/metrics`;
  return {
    api: at(ports.api),
    relay: at(ports.relayMetrics),
    consumers: at(ports.consumersMetrics),
    worker: at(ports.workerMetrics),
  };
};

async function choosePorts(kind: 'configured' | 'free'): Promise<Ports> {
  const { ports } = loadStackConfig();
  const free = async (purpose: string) => (await reserveFreePort(purpose)).port;
  const choose = async (purpose: 'api' | 'internal' | 'issuer') => {
    if (kind === 'free') return free(purpose);
    await assertPortFree(ports[purpose], purpose);
    return ports[purpose];
  };
  return {
    api: await choose('api'),
    internal: await choose('internal'),
    issuer: await choose('issuer'),
    relayMetrics: await free('relay metrics'),
    consumersMetrics: await free('consumers metrics'),
    workerMetrics: await free('worker metrics'),
  };
}

const startIssuerOf = (
  kind: 'embedded' | 'keycloak',
  port: number,
  stateDir: string,
): Promise<IssuerHandle> =>
  kind === 'keycloak'
    ? startKeycloak({ port, stateDir: path.join(stateDir, 'keycloak') })
    : startIssuer({ port, stateDir: path.join(stateDir, 'issuer') });

async function migrateAndSeed(stack: Stack): Promise<void> {
  const ownerUrl = stack.env['DATABASE_OWNER_URL'];
  if (ownerUrl === undefined) throw new Error('the stack gave no owner address');
  await migrate(ownerUrl);
  const db = openDatabase({ url: ownerUrl, applicationName: 'gpuaas-seed', max: 1 });
  try {
    await seed(db);
  } finally {
    await db.close();
  }
}

/** Random keys of this installation, made once. */
function secretFiles(stateDir: string): Record<string, string> {
  const dir = path.join(stateDir, 'secrets');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const keyFile = path.join(dir, 'node-secret.key');
  if (!existsSync(keyFile)) writeFileSync(keyFile, randomBytes(32).toString('base64url'), { mode: 0o600 });
  const clientFile = path.join(dir, 'issuer-client.secret');
  writeFileSync(clientFile, 'dev-client-secret', { mode: 0o600 });
  return { NODE_SECRET_KEY_FILE: keyFile, KEYCLOAK_CLIENT_SECRET_FILE: clientFile };
}

function createServices(
  stack: Stack,
  env: Record<string, string>,
  ports: Ports,
  exited: (service: Service, message: string) => void,
): Record<ServiceName, Service> {
  const logDir = path.join(stack.stateDir, 'logs');
  const answers = (url: string, saying: string) => async () => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    if (!text.includes(saying)) throw new Error(`does not say ${saying} yet`);
  };
  const service = (
    name: ServiceName,
    entry: string,
    extra: Record<string, string>,
    url: string,
    saying = '',
  ): Service => {
    const made: Service = new Service({
      name,
      entry,
      env: { ...env, ...extra },
      onUnexpectedExit: (message) => exited(made, message),
      logDir,
      probe: answers(url, saying),
      nodeArgs: nodeOptions,
    });
    return made;
  };
  return {
    api: service('api', 'api/main.ts', {}, `http://127.0.0.1:${ports.api}/readyz`),
    worker: service(
      'worker',
      'workers/main.ts',
      { WORKER_METRICS_ADDRESS: `127.0.0.1:${ports.workerMetrics}` },
      `http://127.0.0.1:${ports.workerMetrics}/metrics`,
      'temporal_num_pollers',
    ),
    relay: service(
      'relay',
      'workers/relay/main.ts',
      { OUTBOX_METRICS_PORT: String(ports.relayMetrics) },
      `http://127.0.0.1:${ports.relayMetrics}/metrics`,
    ),
    consumers: service(
      'consumers',
      'workers/consumers/main.ts',
      { CONSUMERS_METRICS_PORT: String(ports.consumersMetrics) },
      `http://127.0.0.1:${ports.consumersMetrics}/readyz`,
      'ready',
    ),
  };
}

async function startAgent(
  {
    stack,
    pki,
    internalUrl,
    started,
    exited,
  }: {
    readonly stack: Stack;
    readonly pki: { INTERNAL_TLS_CA_FILE: string; TASK_VERIFY_KEY_FILE: string };
    readonly internalUrl: string;
    readonly started: { stop(): Promise<void> }[];
    readonly exited: (service: Service, message: string) => void;
  },
  node: { id: string; secret: string; gpuCount: number; env?: Record<string, string> },
): Promise<AgentHandle> {
  const root = path.join(stack.stateDir, 'nodes', node.id);
  mkdirSync(root, { recursive: true });
  const secretFile = path.join(stack.stateDir, 'secrets', `agent-${node.id}.secret`);
  writeFileSync(secretFile, node.secret, { mode: 0o600 });
  const logDir = path.join(stack.stateDir, 'logs');
  const logFile = path.join(logDir, `agent-${node.id}.log`);
  // What an agent of an earlier start has said is still there.
  const earlier = readLog(logFile).length;
  const service: Service = new Service({
    name: `agent-${node.id}`,
    entry: 'workers/node-agent/main.ts',
    logDir,
    onUnexpectedExit: (message) => exited(service, message),
    env: {
      AGENT_NODE_ID: node.id,
      AGENT_SECRET_FILE: secretFile,
      AGENT_API_URL: internalUrl,
      AGENT_CA_FILE: pki.INTERNAL_TLS_CA_FILE,
      AGENT_VERIFY_KEY_FILE: pki.TASK_VERIFY_KEY_FILE,
      AGENT_MODE: 'simulated',
      AGENT_ROOT: root,
      AGENT_GPU_COUNT: String(node.gpuCount),
      ...node.env,
    },
    probe: () => {
      if (readLog(logFile).slice(earlier).includes('agent')) return Promise.resolve();
      return Promise.reject(new Error('the agent has said nothing yet'));
    },
  });
  started.push({ stop: () => service.stop() });
  await service.start();
  return { service, root };
}

function readLog(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
