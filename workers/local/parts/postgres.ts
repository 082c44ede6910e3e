import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import { runCommand } from '../install.ts';
import { npmPostgres } from '../npm-postgres.ts';
import { assertReachable, cacheDir } from '../paths.ts';
import { processesIn } from '../process-table.ts';
import { waitUntil, type SpawnSpec } from '../process.ts';
import { compareVersions, versionOf, type PartSource } from '../resolve.ts';
import { databaseSecrets, type DatabaseSecrets } from '../secrets.ts';
import type { StackConfig } from '../stack-config.ts';
import { ExternalPart, LocalPart, portOf } from './part.ts';
import type { BuiltPart, PartContext, PartDriver, Resolved } from './part.ts';

const DATABASE = 'gpuaas';
const INITDB_DEADLINE_MS = 120_000;
const READY_DEADLINE_MS = 60_000;
/** An orphan of a launcher that was killed ends by itself; this is how long that may take. */
const ORPHAN_DEADLINE_MS = 15_000;
const STOP_GRACE_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** How Postgres is found. */
export function postgresSource(config: StackConfig): PartSource {
  const { pinned, minimum } = config.versions.postgres;
  const folder = `postgres-${pinned}`;
  return {
    name: 'postgres',
    pinned,
    minimum,
    addressVariables: ['DATABASE_URL'],
    binary: 'postgres',
    reject: (binary) =>
      existsSync(path.join(path.dirname(binary), 'initdb')) ? undefined : 'has no initdb beside it',
    cached: path.join(cacheDir(), folder, 'bin', 'postgres'),
    obtainers: [npmPostgres(folder, pinned)],
  };
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // An error between two statements is an event; the next statement fails with it, so it needs no handling here.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Creates roles and the database, or brings their passwords in line. Every statement can be repeated. */
async function ensureRoles(adminUrl: string, secrets: DatabaseSecrets): Promise<void> {
  await withClient(adminUrl, async (client) => {
    // A failing statement would be written to the server's log together with the password in it.
    await client.query(`set log_min_error_statement = 'panic'`);
    const roles = [
      { name: 'gpuaas_owner', password: secrets.gpuaas_owner, options: 'login createdb createrole' },
      { name: 'gpuaas_app', password: secrets.gpuaas_app, options: 'login' },
      { name: 'gpuaas_test', password: secrets.gpuaas_test, options: 'login' },
    ];
    for (const role of roles) {
      const known = await client.query('select 1 from pg_roles where rolname = $1', [role.name]);
      const verb = known.rowCount === 0 ? 'create' : 'alter';
      const name = escapeIdentifier(role.name);
      await client.query(
        `${verb} role ${name} with ${role.options} password ${escapeLiteral(role.password)}`,
      );
    }
    // The owner may act as the others and give them rights; pg_signal_backend lets tests cut a connection.
    await client.query('grant gpuaas_app, gpuaas_test to gpuaas_owner with admin option');
    await client.query('grant pg_signal_backend, pg_read_all_stats to gpuaas_owner, gpuaas_test');
    const database = await client.query('select 1 from pg_database where datname = $1', [DATABASE]);
    if (database.rowCount === 0) await client.query(`create database ${DATABASE} owner gpuaas_owner`);
  });
}

class PostgresDriver implements PartDriver {
  readonly name = 'postgres';
  readonly port: number;
  readonly readyDeadlineMs = READY_DEADLINE_MS;
  readonly stopSignal = 'SIGINT'; // fast shutdown: sessions are cut, a checkpoint is written
  readonly stopGraceMs = STOP_GRACE_MS;
  private readonly binary: string;
  private readonly context: PartContext;
  private readonly dataDir: string;
  private readonly secrets: DatabaseSecrets;

  constructor(binary: string, port: number, context: PartContext) {
    this.binary = binary;
    this.port = port;
    this.context = context;
    this.dataDir = path.join(context.stateDir, 'postgres');
    this.secrets = databaseSecrets(context.stateDir);
  }

  url(role: keyof DatabaseSecrets, database: string = DATABASE): string {
    return `postgres://${role}:${this.secrets[role]}@127.0.0.1:${this.port}/${database}`;
  }

  async prepare(): Promise<void> {
    assertReachable(this.context.stateDir, this.context.user);
    assertReachable(path.dirname(this.binary), this.context.user);
    if (!existsSync(path.join(this.dataDir, 'PG_VERSION'))) await this.initialise();
    await this.clearStalePid();
    await this.assertSameMajor();
  }

  /** initdb into a folder of another name, renamed when it is complete: a half-made one is never started. */
  private async initialise(): Promise<void> {
    const { user, stateDir, ephemeral } = this.context;
    const fresh = `${this.dataDir}.new`;
    const passwordFile = path.join(stateDir, '.initdb-password');
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true, mode: 0o700 });
    writeFileSync(passwordFile, this.secrets.postgres, { mode: 0o600 });
    if (user) for (const file of [fresh, passwordFile]) chownSync(file, user.uid, user.gid);
    try {
      const args = ['-D', fresh, '-U', 'postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
      if (ephemeral) args.push('--no-sync');
      await runCommand(
        path.join(path.dirname(this.binary), 'initdb'),
        [...args, '--encoding=UTF8', '--no-locale', '--no-instructions'],
        {
          cwd: fresh,
          env: { PATH: process.env['PATH'], TZ: 'UTC', LC_ALL: 'C' },
          deadlineMs: INITDB_DEADLINE_MS,
          ...(user ? { uid: user.uid, gid: user.gid } : {}),
        },
      );
      renameSync(fresh, this.dataDir);
    } finally {
      rmSync(passwordFile, { force: true });
      rmSync(fresh, { recursive: true, force: true });
    }
  }

  /**
   * postmaster.pid of a server that was killed stops the next one when its pid is in use again. It is removed
   * only when no process works in this directory: a server that still ends is waited for.
   */
  private async clearStalePid(): Promise<void> {
    await waitUntil(() => processesIn(this.dataDir).length === 0, {
      deadlineMs: ORPHAN_DEADLINE_MS,
      onTimeout: () =>
        `another Postgres works in ${this.dataDir}: process ${processesIn(this.dataDir).join(', ')}`,
    });
    rmSync(path.join(this.dataDir, 'postmaster.pid'), { force: true });
  }

  private async assertSameMajor(): Promise<void> {
    const made = readFileSync(path.join(this.dataDir, 'PG_VERSION'), 'utf8').trim();
    const major = (await versionOf(this.binary))?.split('.')[0];
    if (made !== major) {
      throw new Error(`${this.dataDir} was made by Postgres ${made}, the binary is ${major}: wipe the stack`);
    }
  }

  spec(): SpawnSpec {
    const settings: Record<string, string> = {
      port: String(this.port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: '200',
      shared_buffers: '128MB',
      timezone: 'UTC',
      log_timezone: 'UTC',
      logging_collector: 'off',
      log_line_prefix: '%m [%p] %q%u@%d ',
      // A private stack's data is deleted at its end: it need survive kill -9, not a power cut.
      ...(this.context.ephemeral ? { fsync: 'off', full_page_writes: 'off' } : {}),
    };
    return {
      name: this.name,
      command: this.binary,
      args: [
        '-D',
        this.dataDir,
        ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
      ],
      cwd: this.dataDir,
      user: this.context.user,
      logFile: path.join(this.context.stateDir, 'logs', 'postgres.log'),
      deathSignal: 'INT',
    };
  }

  async probe(): Promise<void> {
    await withClient(this.url('postgres', 'postgres'), (client) => client.query('select 1'));
  }

  async afterReady(): Promise<void> {
    await ensureRoles(this.url('postgres', 'postgres'), this.secrets);
  }
}

/** Checks somebody's own server: it answers and is new enough. Roles and the database are its owner's matter. */
async function probeExternal(url: string, minimum: string): Promise<void> {
  await withClient(url, async (client) => {
    const result = await client.query<{ server_version: string }>('show server_version');
    const version = /^[\d.]+/.exec(result.rows[0]?.server_version ?? '')?.[0] ?? '0';
    if (compareVersions(version, minimum) < 0)
      throw new Error(`Postgres ${version} is older than ${minimum}`);
  });
}

/**
 * Builds the Postgres part. Its environment: DATABASE_URL (role gpuaas_app), DATABASE_OWNER_URL (gpuaas_owner,
 * owns the database, may create roles and databases), DATABASE_TEST_URL (gpuaas_test), DATABASE_ADMIN_URL
 * (superuser, maintenance database). For somebody's own server those that are not set fall back to DATABASE_URL.
 */
export function buildPostgres(
  config: StackConfig,
  found: Resolved,
  port: number,
  context: PartContext,
): BuiltPart {
  if (found.kind === 'address') {
    const owner = process.env['DATABASE_OWNER_URL'] ?? found.address;
    return {
      part: new ExternalPart('postgres', portOf(found.address, 5432), () =>
        probeExternal(owner, config.versions.postgres.minimum),
      ),
      env: {
        DATABASE_URL: found.address,
        DATABASE_OWNER_URL: owner,
        DATABASE_TEST_URL: process.env['DATABASE_TEST_URL'] ?? owner,
        DATABASE_ADMIN_URL: process.env['DATABASE_ADMIN_URL'] ?? owner,
      },
    };
  }
  const driver = new PostgresDriver(found.binary, port, context);
  return {
    part: new LocalPart(driver, context.onUnexpectedExit),
    env: {
      DATABASE_URL: driver.url('gpuaas_app'),
      DATABASE_OWNER_URL: driver.url('gpuaas_owner'),
      DATABASE_TEST_URL: driver.url('gpuaas_test'),
      DATABASE_ADMIN_URL: driver.url('postgres', 'postgres'),
    },
  };
}
