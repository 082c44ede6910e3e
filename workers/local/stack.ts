import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Log } from './install.ts';
import { isLocked, tryLock, type Lock } from './locks.ts';
import { buildNats, natsSource } from './parts/nats.ts';
import type { PartName } from './part-name.ts';
import type { BuiltPart, Part, PartContext, Resolved } from './parts/part.ts';
import { buildPostgres, postgresSource } from './parts/postgres.ts';
import { buildRedis, redisSource } from './parts/redis.ts';
import { buildTemporal, temporalSource } from './parts/temporal.ts';
import { serviceUser, stackStateDir } from './paths.ts';
import { assertPortFree, reserveFreePort } from './ports.ts';
import { processesIn } from './process-table.ts';
import { waitUntil } from './process.ts';
import { missingPartError, resolvePart } from './resolve.ts';
import type { PartSource, Resolution, ResolveOptions } from './resolve.ts';
import { loadStackConfig, type StackConfig } from './stack-config.ts';

export type { PartName } from './part-name.ts';
export type { Part } from './parts/part.ts';

/** All parts, in the order they are shown. */
export const PART_NAMES: readonly PartName[] = ['postgres', 'temporal', 'nats', 'redis'];

const LOCK_FILE = 'stack.lock';
const YOUNG_MS = 60_000;
const EPHEMERAL_SUFFIX = /-e[0-9a-f]{12}$/;
/** Servers of a launcher that was killed end by themselves; this is how long that may take. */
const ORPHAN_DEADLINE_MS = 15_000;

/** What kind of stack to start. */
export interface StackOptions {
  /** Names the state folder: one stack of a name runs at a time, unless it is ephemeral. */
  readonly name: string;
  /** `configured`: the ports of temporal-dev.yaml. `free`: any, in 20000 to 32000. */
  readonly ports: 'configured' | 'free';
  /** Deletes the data of the stack before it starts. */
  readonly wipe?: boolean;
  /** A state folder of its own, deleted at stop; data survives kill -9 of a part, not a power cut. */
  readonly ephemeral?: boolean;
  /** Only these; all by default. */
  readonly parts?: readonly PartName[];
  /** Adds the dynamic configuration that is for tests only. */
  readonly testSettings?: boolean;
  /** Added to Temporal's dynamic configuration for this stack only. */
  readonly dynamicConfig?: Readonly<Record<string, number>>;
  /**
   * Whether DATABASE_URL, TEMPORAL_ADDRESS, NATS_URL and REDIS_URL are honoured. By default only with configured
   * ports: a test's private stack must not write into somebody's server.
   */
  readonly useEnvironment?: boolean;
  /** Progress lines; silent by default. */
  readonly log?: Log;
  /** Called when a server ends without having been told to. */
  readonly onUnexpectedExit?: (message: string) => void;
}

/** A running stack. Its servers end with this process, however it ends. */
export interface Stack {
  readonly parts: Readonly<Record<PartName, Part>>;
  /** DATABASE_URL, DATABASE_OWNER_URL, … REDIS_URL: what our processes read. Holds passwords. */
  readonly env: Readonly<Record<string, string>>;
  readonly stateDir: string;
  stop(): Promise<void>;
}

/** Where each part can come from. */
export function partSources(config: StackConfig): Record<PartName, PartSource> {
  return {
    postgres: postgresSource(config),
    temporal: temporalSource(config),
    nats: natsSource(config),
    redis: redisSource(config),
  };
}

/** Resolves parts, all at once. */
export async function resolveParts(
  config: StackConfig,
  names: readonly PartName[],
  options: ResolveOptions,
): Promise<Map<PartName, Resolution>> {
  const sources = partSources(config);
  const found = await Promise.all(names.map((name) => resolvePart(sources[name], options)));
  return new Map(names.map((name, index) => [name, found[index] ?? { kind: 'missing', candidates: [] }]));
}

/** A part that this stack was not asked to have. */
function absentPart(name: PartName): Part {
  const refuse = (): Promise<never> => Promise.reject(new Error(`this stack was started without ${name}`));
  return { name, port: 0, pid: () => undefined, start: refuse, stop: () => Promise.resolve(), kill: refuse };
}

/** Deletes the folders of ephemeral stacks whose process was killed. */
/** A folder that was made a moment ago may not have its lock yet. */
function isYoung(dir: string): boolean {
  const made = statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Date.now() - made < YOUNG_MS;
}

function sweepEphemeral(root: string): void {
  for (const name of existsSync(root) ? readdirSync(root) : []) {
    const dir = path.join(root, name);
    if (!EPHEMERAL_SUFFIX.test(name) || isYoung(dir) || isLocked(path.join(dir, LOCK_FILE))) continue;
    if (PART_NAMES.some((part) => processesIn(path.join(dir, part)).length > 0)) continue;
    rmSync(dir, { recursive: true, force: true });
  }
}

function lockState(stateDir: string): Lock {
  mkdirSync(stateDir, { recursive: true });
  chmodSync(stateDir, 0o755); // the account of Postgres must be able to enter, whatever the umask
  const outcome = tryLock(path.join(stateDir, LOCK_FILE), 'stack');
  if ('release' in outcome) return outcome;
  throw new Error(`this stack is running already, by process ${outcome.pid} (${stateDir})`);
}

async function waitForOrphans(stateDir: string): Promise<void> {
  const orphans = (): number[] => PART_NAMES.flatMap((part) => processesIn(path.join(stateDir, part)));
  await waitUntil(() => orphans().length === 0, {
    deadlineMs: ORPHAN_DEADLINE_MS,
    onTimeout: () => `processes of an earlier run still work in ${stateDir}: ${orphans().join(', ')}`,
  });
}

function wipeState(stateDir: string): void {
  for (const entry of readdirSync(stateDir)) {
    if (entry !== LOCK_FILE) rmSync(path.join(stateDir, entry), { recursive: true, force: true });
  }
}

type PortName =
  | 'postgres'
  | 'temporal'
  | 'temporal_http'
  | 'temporal_metrics'
  | 'temporal_ui'
  | 'nats'
  | 'nats_monitor'
  | 'redis';

const PORTS_OF: Readonly<Record<PartName, readonly PortName[]>> = {
  postgres: ['postgres'],
  temporal: ['temporal', 'temporal_http', 'temporal_metrics', 'temporal_ui'],
  nats: ['nats', 'nats_monitor'],
  redis: ['redis'],
};

interface Ports {
  of(name: PortName): number;
  release(): void;
}

/** Free or configured ports for the parts that this process starts itself. */
async function choosePorts(
  config: StackConfig,
  kind: StackOptions['ports'],
  parts: readonly PartName[],
): Promise<Ports> {
  const releases: (() => void)[] = [];
  const chosen = new Map<PortName, number>();
  for (const name of parts.flatMap((part) => PORTS_OF[part])) {
    if (kind === 'configured') {
      await assertPortFree(config.ports[name], name);
      chosen.set(name, config.ports[name]);
      continue;
    }
    const reserved = await reserveFreePort(name);
    releases.push(() => reserved.release());
    chosen.set(name, reserved.port);
  }
  return { of: (name) => chosen.get(name) ?? 0, release: () => releases.forEach((release) => release()) };
}

function build(
  config: StackConfig,
  name: PartName,
  found: Resolved,
  ports: Ports,
  context: PartContext,
): BuiltPart {
  switch (name) {
    case 'postgres':
      return buildPostgres(config, found, ports.of('postgres'), context);
    case 'temporal': {
      const [grpc, http] = [ports.of('temporal'), ports.of('temporal_http')];
      const [metrics, ui] = [ports.of('temporal_metrics'), ports.of('temporal_ui')];
      return buildTemporal(config, found, { grpc, http, metrics, ui }, context);
    }
    case 'nats':
      return buildNats(config, found, { nats: ports.of('nats'), monitor: ports.of('nats_monitor') }, context);
    case 'redis':
      return buildRedis(config, found, ports.of('redis'), context);
  }
}

/** Resolves everything that the stack needs, installing what is missing. */
async function resolveAll(
  config: StackConfig,
  names: readonly PartName[],
  options: StackOptions,
): Promise<Map<PartName, Resolved>> {
  const resolutions = await resolveParts(config, names, {
    env: process.env,
    useEnvironment: options.useEnvironment ?? options.ports === 'configured',
    install: true,
    log: options.log ?? (() => undefined),
  });
  const sources = partSources(config);
  const found = new Map<PartName, Resolved>();
  for (const [name, resolution] of resolutions) {
    if (resolution.kind === 'missing') throw missingPartError(sources[name], resolution.candidates);
    found.set(name, resolution);
  }
  return found;
}

/** Starts all at once; when one fails, the others are ended and every failure is told. */
async function startAll(parts: readonly Part[], log: Log): Promise<void> {
  const outcomes = await Promise.allSettled(
    parts.map(async (part) => {
      const startedAt = performance.now();
      await part.start();
      log(`${part.name} ready on port ${part.port} after ${Math.round(performance.now() - startedAt)} ms`);
    }),
  );
  const failures = outcomes
    .filter((outcome) => outcome.status === 'rejected')
    .map(({ reason }) => reason as unknown);
  if (failures.length === 0) return;
  await Promise.allSettled(parts.map((part) => part.stop()));
  if (failures.length === 1) throw failures[0];
  throw new AggregateError(failures, failures.map(String).join('\n'));
}

function assemble(built: ReadonlyMap<PartName, BuiltPart>): Pick<Stack, 'parts' | 'env'> {
  const partOf = (name: PartName): Part => built.get(name)?.part ?? absentPart(name);
  return {
    parts: {
      postgres: partOf('postgres'),
      temporal: partOf('temporal'),
      nats: partOf('nats'),
      redis: partOf('redis'),
    },
    env: Object.assign({}, ...[...built.values()].map((one) => one.env)) as Record<string, string>,
  };
}

/**
 * Finds, installs where needed, and starts the servers of a stack, in parallel.
 * @returns the running stack; the caller ends it with stop(). A process that ends without doing so, also by
 * kill -9, takes the servers with it.
 * @throws Error when a part cannot be found or does not start, a configured port is taken (naming the holder), or
 * a stack of this name runs already.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const config = loadStackConfig();
  const names = PART_NAMES.filter((name) => options.parts?.includes(name) ?? true);
  const found = await resolveAll(config, names, options);
  const own = stackStateDir(options.name);
  sweepEphemeral(path.dirname(own));
  const wanted = options.ephemeral ? `${own}-e${randomBytes(6).toString('hex')}` : own;
  const lock = lockState(wanted);
  const stateDir = realpathSync(wanted);
  const cleanUp: (() => void)[] = [() => lock.release()];
  if (options.ephemeral) cleanUp.unshift(() => rmSync(stateDir, { recursive: true, force: true }));
  try {
    await waitForOrphans(stateDir);
    if (options.wipe) wipeState(stateDir);
    const ours = names.filter((name) => found.get(name)?.kind === 'binary');
    const ports = await choosePorts(config, options.ports, ours);
    cleanUp.unshift(() => ports.release());
    const context: PartContext = {
      stateDir,
      user: serviceUser(),
      ephemeral: options.ephemeral ?? false,
      testSettings: options.testSettings ?? false,
      dynamicConfig: options.dynamicConfig ?? {},
      onUnexpectedExit: options.onUnexpectedExit ?? options.log ?? (() => undefined),
    };
    const built = new Map([...found].map(([name, one]) => [name, build(config, name, one, ports, context)]));
    const { parts, env } = assemble(built);
    const running = [...built.values()].map((one) => one.part);
    await startAll(running, options.log ?? (() => undefined));
    return {
      parts,
      env,
      stateDir,
      stop: async () => {
        await Promise.all(running.map((part) => part.stop()));
        cleanUp.splice(0).forEach((step) => step());
      },
    };
  } catch (error) {
    cleanUp.forEach((step) => step());
    throw error;
  }
}

/**
 * Deletes the data of a stack that does not run.
 * @returns the folder that was deleted.
 * @throws Error when it runs.
 */
export async function wipeStack(name: string): Promise<string> {
  const stateDir = stackStateDir(name);
  if (!existsSync(stateDir)) return stateDir;
  const lock = lockState(stateDir);
  try {
    await waitForOrphans(realpathSync(stateDir));
    wipeState(stateDir);
  } finally {
    lock.release();
  }
  rmSync(stateDir, { recursive: true, force: true });
  return stateDir;
}
