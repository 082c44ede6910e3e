import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { buildGoTool, goUnavailable, type GoTool } from '../go-build.ts';
import { cacheDir } from '../paths.ts';
import type { SpawnSpec } from '../process.ts';
import type { PartSource } from '../resolve.ts';
import type { StackConfig } from '../stack-config.ts';
import { temporalDownload } from '../temporal-download.ts';
import { ensureTemporal, probeNamespace, probeTemporal } from '../temporal-namespace.ts';
import { ExternalPart, LocalPart, portOf } from './part.ts';
import type { BuiltPart, PartContext, PartDriver, Resolved } from './part.ts';

const READY_DEADLINE_MS = 60_000;
const STOP_GRACE_MS = 10_000;

/** The dev server's listeners. */
export interface TemporalPorts {
  readonly grpc: number;
  readonly http: number;
  readonly metrics: number;
  readonly ui: number;
}

function tool(config: StackConfig): GoTool {
  const { pinned } = config.versions.temporal;
  return {
    pkg: 'github.com/temporalio/cli/cmd/temporal',
    version: pinned,
    binary: 'temporal',
    versionVariable: 'github.com/temporalio/cli/temporalcli.Version',
    folder: `temporal-${pinned}`,
  };
}

/** How the Temporal CLI, which carries the dev server, is found. */
export function temporalSource(config: StackConfig): PartSource {
  const { pinned, minimum } = config.versions.temporal;
  const goTool = tool(config);
  return {
    name: 'temporal',
    pinned,
    minimum,
    addressVariables: ['TEMPORAL_ADDRESS'],
    binary: goTool.binary,
    cached: path.join(cacheDir(), goTool.folder, goTool.binary),
    obtainers: [
      temporalDownload(goTool.folder, pinned),
      {
        source: 'registry',
        how: `go install ${goTool.pkg}@v${pinned}`,
        unavailable: goUnavailable,
        run: (log) => buildGoTool(goTool, log),
      },
    ],
  };
}

/** The dev server's command line: everything that temporal-dev.yaml declares. */
function temporalArguments(
  config: StackConfig,
  options: { ports: TemporalPorts; database: string } & Pick<PartContext, 'testSettings' | 'dynamicConfig'>,
): string[] {
  const { temporal } = config;
  const dynamic = {
    ...temporal.dynamic_config,
    ...(options.testSettings ? temporal.test_dynamic_config : {}),
    ...options.dynamicConfig,
  };
  const pairs = (flag: string, values: Readonly<Record<string, string>>): string[] =>
    Object.entries(values).flatMap(([key, value]) => [flag, `${key}=${value}`]);
  const json = Object.fromEntries(
    Object.entries(dynamic).map(([key, value]) => [key, JSON.stringify(value)]),
  );
  return [
    'server',
    'start-dev',
    ...['--ip', '127.0.0.1', '--port', String(options.ports.grpc)],
    ...['--http-port', String(options.ports.http), '--metrics-port', String(options.ports.metrics)],
    ...['--ui-ip', '127.0.0.1', '--ui-port', String(options.ports.ui)],
    ...['--db-filename', options.database],
    ...['--namespace', temporal.namespace],
    ...['--log-level', temporal.log_level, '--log-format', 'json'],
    ...pairs('--search-attribute', temporal.search_attributes),
    ...pairs('--sqlite-pragma', temporal.sqlite_pragmas),
    ...pairs('--dynamic-config-value', json),
  ];
}

class TemporalDriver implements PartDriver {
  readonly name = 'temporal';
  readonly port: number;
  readonly address: string;
  readonly readyDeadlineMs = READY_DEADLINE_MS;
  readonly stopSignal = 'SIGTERM';
  readonly stopGraceMs = STOP_GRACE_MS;
  private readonly binary: string;
  private readonly config: StackConfig;
  private readonly ports: TemporalPorts;
  private readonly context: PartContext;
  private readonly dir: string;

  constructor(binary: string, config: StackConfig, ports: TemporalPorts, context: PartContext) {
    this.binary = binary;
    this.config = config;
    this.ports = ports;
    this.port = ports.grpc;
    this.address = `127.0.0.1:${ports.grpc}`;
    this.context = context;
    this.dir = path.join(context.stateDir, 'temporal');
  }

  prepare(): Promise<void> {
    mkdirSync(this.dir, { recursive: true });
    return Promise.resolve();
  }

  spec(): SpawnSpec {
    return {
      name: this.name,
      command: this.binary,
      args: temporalArguments(this.config, {
        ports: this.ports,
        database: path.join(this.dir, 'temporal.db'),
        testSettings: this.context.testSettings,
        dynamicConfig: this.context.dynamicConfig,
      }),
      cwd: this.dir,
      env: { TEMPORAL_VERSION_CHECK_DISABLED: 'true' },
      logFile: path.join(this.context.stateDir, 'logs', 'temporal.log'),
      deathSignal: 'KILL',
    };
  }

  probe(): Promise<void> {
    return probeTemporal(this.address);
  }

  afterReady(): Promise<void> {
    return ensureTemporal(this.address, this.config);
  }
}

/** Builds the Temporal part. Its environment: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_UI_URL. */
export function buildTemporal(
  config: StackConfig,
  found: Resolved,
  ports: TemporalPorts,
  context: PartContext,
): BuiltPart {
  if (found.kind === 'address') {
    const { address } = found;
    const namespace = process.env['TEMPORAL_NAMESPACE'] ?? config.temporal.namespace;
    return {
      part: new ExternalPart('temporal', portOf(address, 7233), () => probeNamespace(address, namespace)),
      env: {
        TEMPORAL_ADDRESS: address,
        TEMPORAL_NAMESPACE: namespace,
        ...(process.env['TEMPORAL_UI_URL'] ? { TEMPORAL_UI_URL: process.env['TEMPORAL_UI_URL'] } : {}),
      },
    };
  }
  const driver = new TemporalDriver(found.binary, config, ports, context);
  return {
    part: new LocalPart(driver, context.onUnexpectedExit),
    env: {
      TEMPORAL_ADDRESS: driver.address,
      TEMPORAL_NAMESPACE: config.temporal.namespace,
      TEMPORAL_UI_URL: `http://127.0.0.1:${ports.ui}`,
    },
  };
}
