import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acceptsConnections } from '../../workers/local/ports.ts';
import { Command } from './command.ts';

const deadlineMs = 180_000;
const entry = 'workers/local/demo.ts';

describe('npm run demo', () => {
  let stateDir: string;
  let command: Command | undefined;

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'gpuaas-e2e-'));
    chmodSync(stateDir, 0o755); // the account of the database goes through it
  });

  afterEach(async () => {
    await command?.destroy();
    command = undefined;
    rmSync(stateDir, { recursive: true, force: true });
  });

  const start = (env: Readonly<Record<string, string>> = {}): Command =>
    (command = Command.start(entry, [], { GPUAAS_STATE_DIR: stateDir, ...env }));

  it(
    'shows an allocation from request to release, and ends with nothing left',
    async () => {
      const hostAccounts = readFileSync('/etc/passwd', 'utf8');
      const demo = start();
      expect({ code: await demo.gone(deadlineMs), output: demo.output }).toMatchObject({ code: 0 });
      // Stack, issuer, API, worker, relay and agent at least.
      expect(demo.familySize).toBeGreaterThan(8);
      for (const piece of [
        /^key SHA256:\S+$/m,
        /^node demo-node-1 \(h100-8x\) is available$/m,
        /^allocation [0-9a-f-]{36}: accepted in \d+ ms$/m,
        /^active after \d+ ms$/m,
        /^ssh -p 2222 \S+@127\.0\.0\.1$/m,
        /^etc\/passwd entries of tenants: \S+:x:1\d{4}:1\d{4}:\S*:\S+:\S+$/m,
        /^home \S+ exists: true$/m,
        /^authorized_keys: ssh-ed25519 \S+\.\.\.$/m,
        /^Temporal UI: http:\/\/127\.0\.0\.1:\d+\/namespaces\/\S+allocation\S+$/m,
        /^released and proven clean after \d+ ms$/m,
        /^etc\/passwd entries of tenants: none$/m,
        /^done in \d+\.\d s$/m,
      ])
        expect(demo.output).toMatch(piece);
      const subjects = [...demo.output.matchAll(/^ *\d+ {2}(gpuaas\.\S+) {2}[0-9a-f-]{36}$/gm)];
      expect(subjects.map(([, subject]) => subject)).toEqual([
        'gpuaas.provisioning.requested',
        'gpuaas.provisioning.active',
        'gpuaas.provisioning.releasing.requested',
        'gpuaas.provisioning.releasing.completed',
      ]);
      const steps = [...demo.output.matchAll(/^\d{4}-\S+Z {2}\+ *\d+ ms {2}(\w+) -> (\w+)$/gm)];
      expect(steps.map(([, event, state]) => `${event} ${state}`)).toEqual([
        'requested requested',
        'provisioning_started provisioning',
        'activated active',
        'release_requested releasing',
        'released released',
      ]);
      const port = Number(/Temporal UI: http:\/\/127\.0\.0\.1:(\d+)/.exec(demo.output)?.[1]);
      expect(await acceptsConnections('127.0.0.1', port)).toBe(false);
      expect(readFileSync('/etc/passwd', 'utf8')).toBe(hostAccounts);
    },
    deadlineMs,
  );

  it.each(['== the stack', 'is available', 'active after'])(
    'leaves nothing when it is interrupted at "%s"',
    async (moment) => {
      const demo = start();
      await demo.printed(moment, deadlineMs);
      demo.interrupt();
      expect({ code: await demo.gone(deadlineMs), output: demo.output }).toMatchObject({ code: 130 });
      expect(demo.output).toContain('demo: interrupted');
      expect(demo.output).not.toContain('done in');
    },
    deadlineMs,
  );

  it(
    'leaves nothing when it fails half-way',
    async () => {
      // The servers come up; the issuer then refuses.
      const demo = start({ GPUAAS_ENV: 'production' });
      expect({ code: await demo.gone(deadlineMs), output: demo.output }).toMatchObject({ code: 1 });
      expect(demo.familySize).toBeGreaterThan(3);
      expect(demo.output).toMatch(/demo: .*(issuer|production)/s);
    },
    deadlineMs,
  );
});
