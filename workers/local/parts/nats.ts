import { mkdirSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import path from 'node:path';
import { z } from 'zod';
import { buildGoTool, goUnavailable, type GoTool } from '../go-build.ts';
import { cacheDir } from '../paths.ts';
import type { SpawnSpec } from '../process.ts';
import { compareVersions, type PartSource } from '../resolve.ts';
import type { StackConfig } from '../stack-config.ts';
import { ExternalPart, LocalPart, portOf } from './part.ts';
import type { BuiltPart, PartContext, PartDriver, Resolved } from './part.ts';

const READY_DEADLINE_MS = 60_000;
const STOP_GRACE_MS = 10_000;
const INFO_TIMEOUT_MS = 2_000;

const infoSchema = z.object({ version: z.string(), jetstream: z.boolean().optional() });

function tool(config: StackConfig): GoTool {
  const { pinned } = config.versions.nats;
  return {
    pkg: 'github.com/nats-io/nats-server/v2',
    version: pinned,
    binary: 'nats-server',
    folder: `nats-${pinned}`,
  };
}

/** How NATS is found. */
export function natsSource(config: StackConfig): PartSource {
  const { pinned, minimum } = config.versions.nats;
  const goTool = tool(config);
  return {
    name: 'nats',
    pinned,
    minimum,
    addressVariables: ['NATS_URL'],
    binary: goTool.binary,
    cached: path.join(cacheDir(), goTool.folder, goTool.binary),
    obtainers: [
      {
        source: 'registry',
        how: `go install ${goTool.pkg}@v${pinned}`,
        unavailable: goUnavailable,
        run: (log) => buildGoTool(goTool, log),
      },
    ],
  };
}

/** The INFO line that a NATS server sends to every new connection. */
function readInfo(host: string, port: number): Promise<z.infer<typeof infoSchema>> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port });
    let text = '';
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(INFO_TIMEOUT_MS, () => fail(new Error('no INFO line')));
    socket.once('error', fail);
    socket.once('end', () => fail(new Error('closed before the INFO line')));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const line = /^INFO (\{.*\})\s*\r?\n/.exec(text)?.[1];
      if (line === undefined) return;
      socket.destroy();
      try {
        resolve(infoSchema.parse(JSON.parse(line)));
      } catch {
        reject(new Error('the INFO line is not one of NATS'));
      }
    });
  });
}

class NatsDriver implements PartDriver {
  readonly name = 'nats';
  readonly port: number;
  readonly readyDeadlineMs = READY_DEADLINE_MS;
  readonly stopSignal = 'SIGTERM';
  readonly stopGraceMs = STOP_GRACE_MS;
  private readonly binary: string;
  private readonly monitorPort: number;
  private readonly context: PartContext;
  private readonly dir: string;

  constructor(binary: string, ports: { nats: number; monitor: number }, context: PartContext) {
    this.binary = binary;
    this.port = ports.nats;
    this.monitorPort = ports.monitor;
    this.context = context;
    this.dir = path.join(context.stateDir, 'nats');
  }

  prepare(): Promise<void> {
    mkdirSync(this.dir, { recursive: true });
    // max_payload stays at the server's default: what passes here must pass on a cluster.
    const lines = [
      `server_name: ${JSON.stringify(path.basename(this.context.stateDir))}`,
      `listen: "127.0.0.1:${this.port}"`,
      `http: "127.0.0.1:${this.monitorPort}"`,
      `jetstream { store_dir: ${JSON.stringify(this.dir)} }`,
    ];
    writeFileSync(path.join(this.dir, 'nats.conf'), `${lines.join('\n')}\n`);
    return Promise.resolve();
  }

  spec(): SpawnSpec {
    return {
      name: this.name,
      command: this.binary,
      args: ['--config', path.join(this.dir, 'nats.conf')],
      cwd: this.dir,
      logFile: path.join(this.context.stateDir, 'logs', 'nats.log'),
      deathSignal: 'KILL',
    };
  }

  async probe(): Promise<void> {
    const info = await readInfo('127.0.0.1', this.port);
    if (info.jetstream !== true) throw new Error('JetStream is not up yet');
  }

  afterReady(): Promise<void> {
    return Promise.resolve();
  }
}

async function probeExternal(address: string, minimum: string): Promise<void> {
  const url = new URL(address.includes('://') ? address : `nats://${address}`);
  const info = await readInfo(url.hostname, portOf(address, 4222));
  if (compareVersions(info.version, minimum) < 0)
    throw new Error(`NATS ${info.version} is older than ${minimum}`);
  if (info.jetstream !== true) throw new Error('JetStream is not enabled');
}

/** Builds the NATS part. Its environment: NATS_URL, and NATS_MONITOR_URL where the server is ours. */
export function buildNats(
  config: StackConfig,
  found: Resolved,
  ports: { nats: number; monitor: number },
  context: PartContext,
): BuiltPart {
  if (found.kind === 'address') {
    const { address } = found;
    return {
      part: new ExternalPart('nats', portOf(address, 4222), () =>
        probeExternal(address, config.versions.nats.minimum),
      ),
      env: { NATS_URL: address },
    };
  }
  return {
    part: new LocalPart(new NatsDriver(found.binary, ports, context), context.onUnexpectedExit),
    env: {
      NATS_URL: `nats://127.0.0.1:${ports.nats}`,
      NATS_MONITOR_URL: `http://127.0.0.1:${ports.monitor}`,
    },
  };
}
