import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Redis } from 'ioredis';
import { debianUnavailable, unpackDebianPackages } from '../debian-package.ts';
import { cacheDir } from '../paths.ts';
import type { SpawnSpec } from '../process.ts';
import { compareVersions, type PartSource } from '../resolve.ts';
import type { StackConfig } from '../stack-config.ts';
import { ExternalPart, LocalPart, portOf } from './part.ts';
import type { BuiltPart, PartContext, PartDriver, Resolved } from './part.ts';

const READY_DEADLINE_MS = 60_000;
const STOP_GRACE_MS = 10_000;
const CONNECT_TIMEOUT_MS = 2_000;

/** The server's package, at its pinned version, and the libraries it loads. */
const LIBRARIES = [
  'redis-tools',
  'libjemalloc2',
  'liblua5.1-0',
  'liblzf1',
  'libatomic1',
  'libhiredis0.14',
  'lua-cjson',
  'lua-bitop',
];

/** How Redis is found. */
export function redisSource(config: StackConfig): PartSource {
  const { pinned, minimum } = config.versions.redis;
  const folder = `redis-${pinned}`;
  return {
    name: 'redis',
    pinned,
    minimum,
    addressVariables: ['REDIS_URL'],
    binary: 'redis-server',
    cached: path.join(cacheDir(), folder, 'usr', 'bin', 'redis-server'),
    obtainers: [
      {
        source: 'registry',
        how: `unpack Debian's redis-server ${pinned}`,
        unavailable: debianUnavailable,
        run: async (log) => {
          const packages = [`redis-server=5:${pinned}*`, ...LIBRARIES];
          const unpacked = await unpackDebianPackages(folder, packages, log);
          return path.join(unpacked, 'usr', 'bin', 'redis-server');
        },
      },
    ],
  };
}

/** The unpacked packages' own library folder; none for a Redis that was installed in the usual way. */
function libraryPath(binary: string): Record<string, string> {
  if (!binary.startsWith(cacheDir())) return {};
  const lib = path.resolve(path.dirname(binary), '..', 'lib');
  if (!existsSync(lib)) return {};
  const folder = readdirSync(lib).find((name) => name.includes('-linux-gnu'));
  return folder === undefined ? {} : { LD_LIBRARY_PATH: path.join(lib, folder) };
}

async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  redis.on('error', () => undefined); // connect() rejects with the same error
  try {
    await redis.connect();
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

class RedisDriver implements PartDriver {
  readonly name = 'redis';
  readonly port: number;
  readonly readyDeadlineMs = READY_DEADLINE_MS;
  readonly stopSignal = 'SIGTERM';
  readonly stopGraceMs = STOP_GRACE_MS;
  private readonly binary: string;
  private readonly context: PartContext;
  private readonly dir: string;

  constructor(binary: string, port: number, context: PartContext) {
    this.binary = binary;
    this.port = port;
    this.context = context;
    this.dir = path.join(context.stateDir, 'redis');
  }

  prepare(): Promise<void> {
    mkdirSync(this.dir, { recursive: true });
    return Promise.resolve();
  }

  spec(): SpawnSpec {
    const settings = {
      bind: '127.0.0.1',
      port: String(this.port),
      dir: this.dir,
      daemonize: 'no',
      // Each command is in the file before its answer leaves, so kill -9 loses nothing; a power cut loses a second.
      appendonly: 'yes',
      appendfsync: 'everysec',
      save: '',
    };
    return {
      name: this.name,
      command: this.binary,
      args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]),
      cwd: this.dir,
      env: libraryPath(this.binary),
      logFile: path.join(this.context.stateDir, 'logs', 'redis.log'),
      deathSignal: 'KILL',
    };
  }

  async probe(): Promise<void> {
    await withRedis(`redis://127.0.0.1:${this.port}`, (redis) => redis.ping());
  }

  afterReady(): Promise<void> {
    return Promise.resolve();
  }
}

async function probeExternal(url: string, minimum: string): Promise<void> {
  const info = await withRedis(url, (redis) => redis.info('server'));
  const version = /redis_version:([\d.]+)/.exec(info)?.[1] ?? '0';
  if (compareVersions(version, minimum) < 0) throw new Error(`Redis ${version} is older than ${minimum}`);
}

/** Builds the Redis part. Its environment: REDIS_URL. */
export function buildRedis(
  config: StackConfig,
  found: Resolved,
  port: number,
  context: PartContext,
): BuiltPart {
  if (found.kind === 'address') {
    const { address } = found;
    return {
      part: new ExternalPart('redis', portOf(address, 6379), () =>
        probeExternal(address, config.versions.redis.minimum),
      ),
      env: { REDIS_URL: address },
    };
  }
  return {
    part: new LocalPart(new RedisDriver(found.binary, port, context), context.onUnexpectedExit),
    env: { REDIS_URL: `redis://127.0.0.1:${port}` },
  };
}
