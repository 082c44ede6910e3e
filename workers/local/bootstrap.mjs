/**
 * Runs a TypeScript entry file of this checkout: `node workers/local/bootstrap.mjs <entry.ts> [arguments]`.
 *
 * The only file that runs before the dependencies are there, so it is plain JavaScript and imports node: only. When
 * node_modules is missing, incomplete or of another package-lock.json it installs them first. The entry then runs in
 * this very process: its signals, its terminal and its exit code are its own.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const progressIntervalMs = 10_000;
const lockPollMs = 250;

const readJson = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));
const say = (line) => process.stderr.write(`${line}\n`);

/** Refuses a Node that the code cannot run on, with the reason, instead of a syntax error somewhere. */
function assertNodeVersion() {
  const wanted = readJson('package.json').engines.node.replace('>=', '');
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  say(`GPUaaS needs Node ${wanted} or later; this is ${process.versions.node}`);
  process.exit(1);
}

/**
 * Why the dependencies have to be installed; undefined when they are those of package-lock.json. npm writes
 * node_modules/.package-lock.json last, so an install that was interrupted is seen too.
 */
function whyInstall() {
  if (!existsSync(path.join(root, 'node_modules'))) return 'there is no node_modules';
  if (!existsSync(path.join(root, 'node_modules/.package-lock.json'))) return 'node_modules is incomplete';
  const wanted = readJson('package-lock.json').packages;
  const present = readJson('node_modules/.package-lock.json').packages;
  for (const [name, { version, optional, peer, inBundle }] of Object.entries(wanted)) {
    if (name === '') continue;
    const found = present[name];
    if (found === undefined && (optional || peer || inBundle)) continue; // of another platform
    if (found === undefined) return `${name.replace(/^.*node_modules\//, '')} is not installed`;
    if (found.version !== version)
      return `package-lock.json has another ${name.replace(/^.*node_modules\//, '')}`;
  }
  return undefined;
}

/** One install of a checkout at a time; the lock of a process that has ended is taken over. */
async function withInstallLock(work) {
  const file = path.join(
    tmpdir(),
    `gpuaas-install-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`,
  );
  for (;;) {
    try {
      const handle = openSync(file, 'wx', 0o600);
      writeSync(handle, String(process.pid));
      closeSync(handle);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (!holderLives(file)) rmSync(file, { force: true });
      else await delay(lockPollMs);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function holderLives(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    if (pid > 0) process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function install(reason) {
  const count = Object.keys(readJson('package-lock.json').packages).length - 1;
  say(`installing ${count} packages: ${reason}`);
  const startedAt = performance.now();
  const elapsed = () => `${Math.round((performance.now() - startedAt) / 1000)} s`;
  const progress = setInterval(() => say(`still installing, ${elapsed()}`), progressIntervalMs);
  const npm = process.env.npm_execpath;
  // Versions and hashes are those of package-lock.json, which is not rewritten. Not `npm ci`: it refuses a lock without
  // the optional binaries of other platforms, and registries that mirror only some platforms cannot give them.
  const flags = [
    'install',
    '--no-save',
    '--loglevel=error',
    '--no-fund',
    '--no-audit',
    '--no-update-notifier',
  ];
  // Development tools are part of it, whatever NODE_ENV says. Output goes to stderr: stdout is the entry's.
  const [command, args] = npm?.endsWith('.js') ? [process.execPath, [npm, ...flags]] : ['npm', flags];
  const child = spawn(command, [...args, '--include=dev'], { cwd: root, stdio: ['ignore', 2, 2] });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exitCode, signal) => resolve(signal ?? exitCode));
  }).finally(() => clearInterval(progress));
  if (code !== 0) {
    say(`npm install failed (${code}) after ${elapsed()}`);
    process.exit(1);
  }
  say(`installed after ${elapsed()}`);
}

assertNodeVersion();
if (whyInstall() !== undefined) {
  await withInstallLock(async () => {
    const reason = whyInstall(); // another process may have done it meanwhile
    if (reason !== undefined) await install(reason);
  });
}
const [entry, ...rest] = process.argv.slice(2);
if (entry !== undefined) {
  const file = path.resolve(root, entry);
  process.argv = [process.execPath, file, ...rest];
  await import('tsx');
  await import(pathToFileURL(file).href);
}
