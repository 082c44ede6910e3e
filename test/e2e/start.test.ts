import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { apiClient, dataOf, devToken } from '../../workers/local/api-client.ts';
import { issuerUrlFor } from '../../workers/local/issuer/realm.ts';
import { acceptsConnections } from '../../workers/local/ports.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';
import { Command } from './command.ts';

const deadlineMs = 180_000;
const entry = 'workers/local/start.ts';
const { ports } = loadStackConfig();
const apiUrl = `http://127.0.0.1:${ports.api}`;

const takenPorts = async (): Promise<string[]> => {
  const taken = [];
  for (const [name, port] of Object.entries(ports))
    if (await acceptsConnections('127.0.0.1', port)) taken.push(`${name} ${port}`);
  return taken;
};

const nodeIds = async (): Promise<string[]> => {
  const admin = apiClient(apiUrl, await devToken(issuerUrlFor(ports.issuer), 'dev-admin', 'admin123'));
  const { items } = dataOf('listing the nodes', await admin.GET('/api/v1/admin/nodes'));
  return items.map(({ id }) => id);
};

describe('npm start', () => {
  let stateDir: string;
  let command: Command | undefined;

  beforeAll(async () => {
    let taken: string[] = [];
    await waitUntil(async () => (taken = await takenPorts()).length === 0, {
      deadlineMs,
      pollMs: 500,
      onTimeout: () => `ports of temporal-dev.yaml are taken: ${taken.join(', ')}`,
    });
    stateDir = mkdtempSync(path.join(tmpdir(), 'gpuaas-e2e-'));
    chmodSync(stateDir, 0o755); // the account of the database goes through it
  }, deadlineMs);

  afterEach(async () => {
    await command?.destroy();
    command = undefined;
  });

  afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

  const start = (): Command => (command = Command.start(entry, [], { GPUAAS_STATE_DIR: stateDir }));

  const interrupted = async (running: Command): Promise<void> => {
    running.interrupt();
    expect({ code: await running.gone(deadlineMs), output: running.output }).toMatchObject({ code: 0 });
    expect(await takenPorts()).toEqual([]);
  };

  it(
    'serves on the configured ports, finds its state again, and Ctrl-C leaves nothing',
    async () => {
      const first = start();
      await first.printed('GPUaaS is up.', deadlineMs);
      for (const [at, saying] of [
        ['/healthz', '"status"'],
        ['/readyz', '"status"'],
        ['/docs', '<html'],
        ['/docs/openapi.yaml', 'openapi: 3.1.0'],
        ['/metrics', '# HELP'],
      ] as const) {
        const answer = await fetch(`${apiUrl}${at}`);
        expect([at, answer.status]).toEqual([at, 200]);
        expect(await answer.text()).toContain(saying);
      }
      const before = await nodeIds();
      expect(before).toHaveLength(2);
      await interrupted(first);

      const second = start();
      await second.printed('GPUaaS is up.', deadlineMs);
      expect(await nodeIds()).toEqual(before);
      expect(second.killChild('workers/relay/main.ts')).toBeGreaterThan(0);
      await second.printed('relay has ended by SIGKILL', deadlineMs);
      await second.printed('relay runs again', deadlineMs);
      await interrupted(second);
    },
    2 * deadlineMs,
  );

  it(
    'leaves nothing when a port is taken',
    async () => {
      const stranger = createServer();
      await new Promise<void>((resolve) => stranger.listen(ports.api, '127.0.0.1', resolve));
      try {
        const refused = start();
        expect({ code: await refused.gone(deadlineMs), output: refused.output }).toMatchObject({ code: 1 });
        expect(refused.output).toContain(`port ${ports.api} (api) is taken by`);
      } finally {
        await new Promise((resolve) => stranger.close(resolve));
      }
      expect(await takenPorts()).toEqual([]);
    },
    deadlineMs,
  );
});
