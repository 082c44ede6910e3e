/** What `npm start` prints and promises, in a checkout of its own on ports of its own: it runs beside any other. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { reserveFreePort, type ReservedPort } from '../../workers/local/ports.ts';
import { checkoutRoot, loadStackConfig } from '../../workers/local/stack-config.ts';
import { Command } from '../e2e/command.ts';

const deadlineMs = 180_000;
const run = promisify(execFile);

let dir: string;
let copy: string;
const reserved: ReservedPort[] = [];
let command: Command | undefined;

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'gpuaas-start-'));
  chmodSync(dir, 0o755); // the account of the database goes through it
  copy = path.join(dir, 'checkout');
  await copyCheckout();
}, deadlineMs);
afterEach(async () => {
  await command?.destroy();
  command = undefined;
});
afterAll(() => {
  for (const port of reserved) port.release();
  rmSync(dir, { recursive: true, force: true });
});

/** The product without its tests, the same packages, and other ports in temporal-dev.yaml. */
async function copyCheckout(): Promise<void> {
  mkdirSync(copy);
  const parts = [
    'activities',
    'api',
    'contracts',
    'db',
    'workers',
    'workflows',
    'package.json',
    'package-lock.json',
  ];
  for (const part of [...parts, 'tsconfig.json', 'temporal-dev.yaml'])
    cpSync(path.join(checkoutRoot, part), path.join(copy, part), { recursive: true });
  symlinkSync(path.join(checkoutRoot, 'node_modules'), path.join(copy, 'node_modules'));
  const file = path.join(copy, 'temporal-dev.yaml');
  let text = readFileSync(file, 'utf8');
  for (const name of Object.keys(loadStackConfig().ports)) {
    const port = await reserveFreePort(`${name} of npm start`);
    reserved.push(port);
    text = text.replace(new RegExp(`^  ${name}: \\d+`, 'm'), `  ${name}: ${port.port}`);
  }
  writeFileSync(file, text);
  expect(Object.values(loadStackConfig(file).ports)).toEqual(reserved.map(({ port }) => port));
}

async function started(...args: string[]): Promise<Command> {
  const entry = path.relative(checkoutRoot, path.join(copy, 'workers/local/start.ts'));
  command = Command.start(entry, args, { GPUAAS_STATE_DIR: path.join(dir, 'state') });
  await command.printed('Ctrl-C ends it.', deadlineMs);
  return command;
}

async function interrupted(running: Command): Promise<void> {
  running.interrupt();
  expect({ code: await running.gone(deadlineMs), output: running.output }).toMatchObject({ code: 0 });
}

/** What stands behind a label of the greeting. */
const shown = (running: Command, label: string): string =>
  new RegExp(`^ *${label} +(\\S+)`, 'm').exec(running.output)?.[1] ?? `${label} is not shown`;

/** Runs the printed command as it stands there. @returns the token in what it gives. */
async function printedToken(running: Command): Promise<string> {
  const printed = /^A token:\n((?: .*\n)+)/m.exec(running.output)?.[1] ?? 'exit 9';
  const { stdout } = await run('sh', ['-c', printed]);
  return (JSON.parse(stdout) as { access_token: string }).access_token;
}

async function call(running: Command, token: string, method: string, at: string, body?: unknown) {
  const answer = await fetch(`${shown(running, 'API')}${at}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'x-idempotency-key': randomUUID(),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as { items?: { name: string }[] } };
}

const projectNames = async (running: Command, token: string): Promise<string[]> => {
  const { status, body } = await call(running, token, 'GET', '/projects');
  expect(status).toBe(200);
  return (body.items ?? []).map(({ name }) => name);
};

describe('npm start', () => {
  it(
    'prints a command whose token the API takes, and --wipe begins with nothing',
    async () => {
      const first = await started();
      const token = await printedToken(first);
      const fresh = await projectNames(first, token);
      expect(fresh).toHaveLength(1);
      for (const label of ['API reference', 'Temporal UI'])
        expect([label, (await fetch(shown(first, label))).status]).toEqual([label, 200]);
      expect((await call(first, token, 'POST', '/projects', { name: 'kept' })).status).toBe(201);
      const data = shown(first, 'Data:');
      const planted = path.join(data, 'planted');
      expect(data.startsWith(path.join(dir, 'state'))).toBe(true);
      writeFileSync(planted, '');
      await interrupted(first);

      const second = await started('--wipe');
      expect(() => readFileSync(planted)).toThrow(/ENOENT/);
      // The issuer began anew too: its old tokens are nobody's.
      expect((await call(second, token, 'GET', '/projects')).status).toBe(401);
      expect(await projectNames(second, await printedToken(second))).toEqual(fresh);
      await interrupted(second);
    },
    2 * deadlineMs,
  );
});
