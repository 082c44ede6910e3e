/** Starts Keycloak with the development realm, in place of the embedded issuer. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assertPortFree } from '../ports.ts';
import { ManagedProcess, waitUntil } from '../process.ts';
import { issuerReady, type IssuerHandle } from './handle.ts';
import { JAVA_OPTIONS, keycloakHome } from './keycloak-install.ts';
import { keycloakRealm } from './keycloak-realm.ts';
import { issuerUrlFor, REALM } from './realm.ts';

const LIMITS = { readyTimeoutMs: 240_000, stopGraceMs: 20_000 };

export interface StartKeycloakOptions {
  readonly port: number;
  /** Its home directory, log and (without `databaseUrl`) database file. */
  readonly stateDir: string;
  /** `postgres://user:password@host:port/database`; an H2 file in `stateDir` unless given. */
  readonly databaseUrl?: string;
  /** Lifetime of an access token; 300 s unless given. */
  readonly accessTokenTtlSeconds?: number;
  /** Receives progress lines of the first set-up. */
  readonly log?: (line: string) => void;
}

/** What `kc.sh` passes to Java, so that the process started is the server itself and not a script around it. */
const javaArguments = (home: string): string[] => [
  '-Xms64m',
  '-Xmx512m',
  '-XX:MetaspaceSize=96M',
  '-XX:MaxMetaspaceSize=256m',
  ...JAVA_OPTIONS,
  ...['util', 'util.concurrent', 'security', 'lang'].map(
    (name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`,
  ),
  '--enable-native-access=ALL-UNNAMED',
  // Otherwise the transaction manager listens on a port only to have a number nobody else has.
  '-DCoreEnvironmentBean.processImplementationClassName=com.arjuna.ats.internal.arjuna.utils.UuidProcessId',
  '-Dfile.encoding=UTF-8',
  '-Duser.language=en',
  '-Duser.country=US',
  '-Djava.util.concurrent.ForkJoinPool.common.threadFactory=' +
    'io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory',
  `-Dkc.home.dir=${home}`,
  `-Djboss.server.config.dir=${join(home, 'conf')}`,
  '-Djava.util.logging.manager=org.jboss.logmanager.LogManager',
  '-Dpicocli.disable.closures=true',
  '-cp',
  join(home, 'lib', 'quarkus-run.jar'),
  'io.quarkus.bootstrap.runner.QuarkusEntryPoint',
];

/** A home of its own: the installation's parts by link, its data for itself. */
function prepareHome(installation: string, stateDir: string): string {
  const home = join(stateDir, 'home');
  for (const part of ['lib', 'conf', 'providers', 'themes']) {
    rmSync(join(home, part), { recursive: true, force: true });
    mkdirSync(home, { recursive: true, mode: 0o700 });
    symlinkSync(join(installation, part), join(home, part));
  }
  return home;
}

/**
 * Connection settings, by environment, where the process list does not show a password. By itself Keycloak lets
 * H2 keep the last half second of commits in memory: a killed server would forget sessions whose tokens it had
 * handed out.
 */
function databaseEnvironment(databaseUrl: string | undefined, home: string): Record<string, string> {
  if (databaseUrl === undefined) {
    const file = join(home, 'data', 'h2', 'keycloakdb');
    return { KC_DB_URL: `jdbc:h2:file:${file};NON_KEYWORDS=VALUE;WRITE_DELAY=0` };
  }
  const url = new URL(databaseUrl);
  return {
    KC_DB_URL: `jdbc:postgresql://${url.host}${url.pathname}`,
    KC_DB_USERNAME: decodeURIComponent(url.username),
    KC_DB_PASSWORD: decodeURIComponent(url.password),
  };
}

interface Target {
  readonly home: string;
  readonly env: Record<string, string>;
  readonly logFile: string;
}

const launch = ({ home, env, logFile }: Target, args: readonly string[]): Promise<ManagedProcess> =>
  ManagedProcess.start({
    name: 'keycloak',
    command: 'java',
    args: [...javaArguments(home), ...args],
    env,
    logFile,
    deathSignal: 'KILL',
  });

/**
 * Writes the realm where Keycloak imports it from. Keycloak skips a realm it already has, so when the data
 * changed since the last start the old one is removed: the H2 file is deleted, a server's realm is overwritten.
 */
async function prepareRealm(target: Target, realm: object, ownDatabase: boolean): Promise<void> {
  const text = JSON.stringify(realm);
  const hash = createHash('sha256').update(text).digest('hex');
  const marker = join(target.home, 'realm.sha256');
  const file = join(target.home, 'data', 'import', `${REALM.name}-realm.json`);
  mkdirSync(join(target.home, 'data', 'import'), { recursive: true, mode: 0o700 });
  writeFileSync(file, text, { mode: 0o600 });
  if (existsSync(marker) && readFileSync(marker, 'utf8') === hash) return;
  if (ownDatabase) rmSync(join(target.home, 'data', 'h2'), { recursive: true, force: true });
  else {
    const importer = await launch(target, ['import', '--optimized', `--file=${file}`, '--override=true']);
    await waitUntil(() => !importer.isRunning(), {
      deadlineMs: LIMITS.readyTimeoutMs,
      onTimeout: () => `Keycloak is still importing the realm after ${LIMITS.readyTimeoutMs} ms`,
    });
    const { code } = await importer.exited;
    if (code !== 0) throw new Error(`Keycloak could not import the realm: see ${target.logFile}`);
  }
  writeFileSync(marker, hash);
}

/**
 * Starts Keycloak and resolves once it serves the realm (half a minute the first time, ten seconds after).
 * Rejects with the end of its log when it does not come up, and in production.
 */
export async function startKeycloak(options: StartKeycloakOptions): Promise<IssuerHandle> {
  if (process.env['GPUAAS_ENV']?.trim().toLowerCase() === 'production') {
    throw new Error('the development realm is for development only: GPUAAS_ENV is production');
  }
  const ownDatabase = options.databaseUrl === undefined;
  const installation = await keycloakHome(ownDatabase ? 'dev-file' : 'postgres', options.log);
  await assertPortFree(options.port, 'issuer');
  const home = prepareHome(installation, options.stateDir);
  const logFile = join(options.stateDir, 'logs', 'keycloak.log');
  const target = { home, env: databaseEnvironment(options.databaseUrl, home), logFile };
  await prepareRealm(
    target,
    keycloakRealm(options.accessTokenTtlSeconds ?? REALM.accessTokenTtlSeconds),
    ownDatabase,
  );

  const issuerUrl = issuerUrlFor(options.port);
  const managed = await launch(target, [
    'start',
    '--optimized',
    '--import-realm',
    '--cache=local',
    '--http-enabled=true',
    '--http-host=127.0.0.1',
    `--http-port=${options.port}`,
    `--hostname=${new URL(issuerUrl).origin}`,
  ]);
  return issuerReady(managed, issuerUrl, LIMITS);
}
