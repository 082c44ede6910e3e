/** Gets Keycloak into the project's cache: unpacked by Maven at a pinned version, then built for one database. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '../paths.ts';

const run = promisify(execFile);

export const KEYCLOAK_VERSION = '26.7.3';
const UNPACK_GOAL = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack';
const STEP_TIMEOUT_MS = 600_000;

/** The JVM settings of a small development server: serial collector, first-tier compiler only. */
export const JAVA_OPTIONS = ['-XX:-UseG1GC', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'] as const;

/** Databases Keycloak is built for: a file of its own, or a Postgres server. */
export type KeycloakDatabase = 'dev-file' | 'postgres';

function reasonOf(error: unknown): string {
  const output = typeof error === 'object' && error !== null && 'stdout' in error ? String(error.stdout) : '';
  const message = error instanceof Error ? error.message : String(error);
  return `${message}\n${output.slice(-2_000)}`.trim();
}

/** Whether the programs the installation needs answer; the reason why not, or undefined. */
export async function keycloakUnavailable(
  database: KeycloakDatabase = 'dev-file',
): Promise<string | undefined> {
  for (const [command, flag] of [
    ['java', '-version'],
    ['mvn', '--version'],
  ] as const) {
    try {
      await run(command, [flag], { timeout: STEP_TIMEOUT_MS });
    } catch {
      if (command === 'mvn' && existsSync(join(cacheDir(), 'keycloak', `${KEYCLOAK_VERSION}-${database}`)))
        continue;
      return `${command} is not installed: Keycloak needs a Java 17 runtime and, for its first set-up, Maven`;
    }
  }
  return undefined;
}

async function install(
  target: string,
  database: KeycloakDatabase,
  log: (line: string) => void,
): Promise<void> {
  const parent = join(cacheDir(), 'keycloak');
  mkdirSync(parent, { recursive: true });
  const draft = mkdtempSync(join(parent, 'draft-'));
  try {
    log(`Keycloak ${KEYCLOAK_VERSION}: unpacking from Maven (177 MB)`);
    const artifact = `org.keycloak:keycloak-quarkus-dist:${KEYCLOAK_VERSION}:zip`;
    const args = ['-q', '-B', UNPACK_GOAL, `-Dartifact=${artifact}`, `-DoutputDirectory=${draft}`];
    await run('mvn', args, { cwd: draft, timeout: STEP_TIMEOUT_MS });
    const home = join(draft, `keycloak-${KEYCLOAK_VERSION}`);
    log(`Keycloak ${KEYCLOAK_VERSION}: building for ${database}`);
    await run(join(home, 'bin', 'kc.sh'), ['build', `--db=${database}`], {
      timeout: STEP_TIMEOUT_MS,
      env: { ...process.env, JAVA_OPTS_APPEND: JAVA_OPTIONS.join(' ') },
    });
    // Of two processes that install at once the first rename wins; the other finds the place taken.
    if (!existsSync(target)) renameSync(home, target);
  } catch (error) {
    if (!existsSync(target)) throw new Error(`Keycloak could not be set up: ${reasonOf(error)}`);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** The directory of a Keycloak built for this database, installed on first use (about half a minute). */
export async function keycloakHome(
  database: KeycloakDatabase,
  log: (line: string) => void = () => undefined,
): Promise<string> {
  const target = join(cacheDir(), 'keycloak', `${KEYCLOAK_VERSION}-${database}`);
  if (!existsSync(target)) await install(target, database, log);
  return target;
}
