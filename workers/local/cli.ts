import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { diagnose } from './doctor.ts';
import { ensureDevPki } from './pki.ts';
import { chromium } from './chromium.ts';
import { promtool } from './promtool.ts';
import { missingPartError } from './resolve.ts';
import { PART_NAMES, partSources, resolveParts, startStack, wipeStack } from './stack.ts';
import { installSystemPackages } from './system-packages.ts';
import { loadStackConfig } from './stack-config.ts';

const DEFAULT_NAME = 'dev';

const USAGE = `usage: npm run stack -- <command> [--name NAME]
  doctor    where each part comes from, and why
  install   get everything that is missing
  up        run Postgres, Temporal, NATS and Redis until Ctrl-C  [--free-ports] [--wipe]
  wipe      delete the data of the stack
NAME is ${DEFAULT_NAME} unless given; each name has data of its own.`;

function log(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function install(): Promise<number> {
  const config = loadStackConfig();
  const resolutions = await resolveParts(config, PART_NAMES, {
    env: process.env,
    useEnvironment: true,
    install: true,
    log,
  });
  let failures = 0;
  for (const [name, resolution] of resolutions) {
    if (resolution.kind !== 'missing') continue;
    failures += 1;
    process.stderr.write(`${missingPartError(partSources(config)[name], resolution.candidates).message}\n`);
  }
  await installSystemPackages(log);
  await promtool(log).catch((error: unknown) =>
    log(`promtool, for the tests of metrics and alerts: ${String(error)}`),
  );
  await chromium(log).catch((error: unknown) => log(`a browser, for the tests of pages: ${String(error)}`));
  log((await diagnose()).text);
  return failures === 0 ? 0 : 1;
}

async function doctor(): Promise<number> {
  const { text, missing } = await diagnose();
  log(text);
  if (missing.length > 0) log(`\nmissing: ${missing.join(', ')}; npm run stack -- install`);
  return missing.length > 0 ? 1 : 0;
}

/** A shell file for other terminals: `set -a; . FILE`. Mode 0600, it holds the database passwords. */
function writeEnvironment(stateDir: string, env: Readonly<Record<string, string>>): string {
  const file = path.join(stateDir, 'env');
  const lines = Object.entries(env).map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`);
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return file;
}

async function up(name: string, flags: ReadonlySet<string>): Promise<number> {
  const end = deferred<number>();
  const interrupt = (): void => end.resolve(0);
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const stack = await startStack({
    name,
    ports: flags.has('--free-ports') ? 'free' : 'configured',
    wipe: flags.has('--wipe'),
    log,
    onUnexpectedExit: (message) => {
      log(message);
      end.resolve(1);
    },
  });
  // Nothing else keeps Node alive: the servers are not waited for.
  const keepAlive = setInterval(() => undefined, 60_000);
  try {
    const file = writeEnvironment(stack.stateDir, { ...stack.env, ...(await ensureDevPki(stack.stateDir)) });
    log(`addresses for other terminals: set -a; . ${file}`);
    log(`logs ${path.join(stack.stateDir, 'logs')}`);
    if (stack.env['TEMPORAL_UI_URL']) log(`Temporal UI ${stack.env['TEMPORAL_UI_URL']}`);
    log('up; Ctrl-C ends it');
    return await end.promise;
  } finally {
    clearInterval(keepAlive);
    await stack.stop();
    log('stopped');
  }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

async function run(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  const flags = new Set(rest.filter((arg) => arg.startsWith('--')));
  const at = rest.indexOf('--name');
  const name = at === -1 ? DEFAULT_NAME : (rest[at + 1] ?? DEFAULT_NAME);
  switch (command) {
    case 'doctor':
      return doctor();
    case 'install':
      return install();
    case 'up':
      return up(name, flags);
    case 'wipe':
      log(`deleted ${await wipeStack(name)}`);
      return 0;
    default:
      process.stderr.write(`${USAGE}\n`);
      return 2;
  }
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
