import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openDatabase, type Database } from '../../db/client.ts';
import { migrate } from '../../db/migrate.ts';
import { idempotent } from '../../db/ops/idempotency.store.ts';
import { createPolicyReader, setPolicy } from '../../db/ops/policy.store.ts';
import { startStack, type Stack } from '../../workers/local/stack.ts';

const startTimeoutMs = 120_000;
const command = fileURLToPath(new URL('../../db/migrate.ts', import.meta.url));

let stack: Stack;
let db: Database;
beforeAll(async () => {
  stack = await startStack({ name: 'api-db-test', ports: 'free', ephemeral: true, parts: ['postgres'] });
}, startTimeoutMs);
afterAll(async () => {
  await db?.close();
  await stack?.stop();
}, startTimeoutMs);

const env = (name: string): string => stack.env[name] ?? '';
const cli = (verb: string, variables: Record<string, string>) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', command, verb], {
    env: { PATH: process.env['PATH'] ?? '', ...variables },
  });

async function asAdmin(...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: env('DATABASE_ADMIN_URL') });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

describe('migrations', () => {
  it('say which roles are missing', async () => {
    await asAdmin('alter role gpuaas_test rename to gpuaas_test_away');
    await expect(migrate(env('DATABASE_OWNER_URL'))).rejects.toThrow(
      'create these database roles first: gpuaas_test',
    );
    await asAdmin('alter role gpuaas_test_away rename to gpuaas_test');
  });

  it('run once, however many processes start them', async () => {
    await Promise.all(Array.from({ length: 4 }, () => migrate(env('DATABASE_OWNER_URL'))));
    await migrate(env('DATABASE_OWNER_URL'));
    db = openDatabase({ url: env('DATABASE_URL'), applicationName: 'test' });
    const rows = await db.q.execute(sql`select code from skus`);
    expect(rows.rows).toEqual([]);
  });

  it('are a command, as the seed is; a mistake is one line and status 1', async () => {
    await cli('migrate', { DATABASE_OWNER_URL: env('DATABASE_OWNER_URL') });
    await cli('seed', { DATABASE_URL: env('DATABASE_URL') });
    expect((await db.q.execute(sql`select code from skus`)).rows).toHaveLength(5);
    await expect(cli('seed', {})).rejects.toMatchObject({ code: 1, stderr: 'DATABASE_URL is not set\n' });
    await expect(cli('drop', {})).rejects.toMatchObject({ code: 1, stderr: 'say migrate or seed\n' });
  }, 120_000);
});

describe('the policy reader', () => {
  it('sees a change of its own process at once and one of another soon', async () => {
    const [here, there] = [createPolicyReader(db.q), createPolicyReader(db.q)];
    expect(await here.get('allocation.max_concurrent_per_user')).toBe(50);
    expect(await there.get('allocation.max_concurrent_per_user')).toBe(50);
    await db.tx((tx) => setPolicy(tx, 'allocation.max_concurrent_per_user', 7));
    here.refresh();
    expect(await here.get('allocation.max_concurrent_per_user')).toBe(7);
    const seen = async () => expect(await there.get('allocation.max_concurrent_per_user')).toBe(7);
    await vi.waitFor(seen, { timeout: 30_000, interval: 20 });
  });

  it('a read that began before a refresh does not bring the old value back', async () => {
    const reader = createPolicyReader(db.q);
    const before = reader.get('billing.window_seconds');
    await db.tx((tx) => setPolicy(tx, 'billing.window_seconds', 61));
    reader.refresh();
    await before;
    expect(await reader.get('billing.window_seconds')).toBe(61);
  });

  it('takes the default where a stored value does not fit', async () => {
    await db.q.execute(
      sql`update policy_values set value = '"x"' where key = 'allocation.refund_window_days'`,
    );
    expect(await createPolicyReader(db.q).get('allocation.refund_window_days')).toBe(30);
  });

  it('serves what it has while Postgres is away, and nothing when it never had any', async () => {
    const reader = createPolicyReader(db.q);
    expect(await reader.get('maas.enabled')).toBe(false);
    await stack.parts.postgres.kill();
    reader.refresh();
    expect(await reader.get('maas.enabled')).toBe(false);
    await expect(createPolicyReader(db.q).get('maas.enabled')).rejects.toThrow();
    await stack.parts.postgres.start();
    await vi.waitFor(() => createPolicyReader(db.q).get('maas.enabled'), { timeout: 20_000, interval: 100 });
  }, 120_000);
});

describe('idempotent', () => {
  const of = (key: string, bodyHash = 'h') => ({
    caller: '0a000000-0000-4000-8000-000000000001',
    route: 'r',
    key,
    bodyHash,
  });

  it('does the work once for 20 at once', async () => {
    let runs = 0;
    const work = () => Promise.resolve({ status: 200, body: { run: (runs += 1) } });
    const answers = await Promise.all(Array.from({ length: 20 }, () => idempotent(db, of('k1'), work)));
    expect(runs).toBe(1);
    expect(answers).toEqual(answers.map(() => ({ status: 200, body: { run: 1 } })));
  });

  it('a twin of a failure does the work itself', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let begun: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (begun = resolve));
    const failing = idempotent(db, of('k2'), async () => {
      begun();
      await held;
      throw new Error('lost');
    });
    await first;
    const twin = idempotent(db, of('k2'), () => Promise.resolve({ status: 201, body: null }));
    release();
    await expect(failing).rejects.toThrow('lost');
    expect(await twin).toEqual({ status: 201, body: null });
  });

  it('refuses another request under the key', async () => {
    const work = () => Promise.resolve({ status: 200, body: null });
    await idempotent(db, of('k3'), work);
    await expect(idempotent(db, of('k3', 'other'), work)).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });
});
