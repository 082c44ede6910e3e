import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Connection } from '@temporalio/client';
import { Redis } from 'ioredis';
import { connect as connectNats } from 'nats';
import { Client as PgClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertPortFree, reserveFreePort } from '../../workers/local/ports.ts';
import { descendantsOf, isAlive } from '../../workers/local/process-table.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';
import { PART_NAMES, startStack, wipeStack, type Stack } from '../../workers/local/stack.ts';
import { ensureTemporal } from '../../workers/local/temporal-namespace.ts';

const SET_UP_DEADLINE_MS = 120_000;
const TEST_DEADLINE_MS = 60_000;
const config = loadStackConfig();

function address(stack: Stack, name: string): string {
  const value = stack.env[name];
  if (value === undefined) throw new Error(`the stack has no ${name}`);
  return value;
}

async function query<T extends object>(url: string, text: string): Promise<T[]> {
  const client = new PgClient({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}

async function withRedis<T>(stack: Stack, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(address(stack, 'REDIS_URL'), { lazyConnect: true });
  await redis.connect();
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

async function withTemporal<T>(stack: Stack, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address: address(stack, 'TEMPORAL_ADDRESS') });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

async function restart(stack: Stack, name: (typeof PART_NAMES)[number]): Promise<void> {
  const part = stack.parts[name];
  const before = part.pid();
  await part.kill();
  expect(part.pid()).toBeUndefined();
  expect(isAlive(before ?? 0)).toBe(false);
  await part.start();
  expect(part.pid()).not.toBe(before);
}

describe('a stack on free ports', () => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await startStack({ name: 'test-stack', ports: 'free', ephemeral: true, testSettings: true });
  }, SET_UP_DEADLINE_MS);

  afterAll(async () => {
    await stack.stop();
    expect(existsSync(stack.stateDir)).toBe(false);
  }, TEST_DEADLINE_MS);

  it('listens below the range of outgoing connections', () => {
    for (const name of PART_NAMES) {
      expect(stack.parts[name].port).toBeGreaterThanOrEqual(20_000);
      expect(stack.parts[name].port).toBeLessThan(32_000);
    }
  });

  it('gives every database role its own address, and the database to its owner', async () => {
    const who = 'select current_user as role, current_database() as database';
    const database = 'gpuaas';
    expect(await query(address(stack, 'DATABASE_URL'), who)).toEqual([{ role: 'gpuaas_app', database }]);
    expect(await query(address(stack, 'DATABASE_TEST_URL'), who)).toEqual([
      { role: 'gpuaas_test', database },
    ]);
    expect(await query(address(stack, 'DATABASE_OWNER_URL'), who)).toEqual([
      { role: 'gpuaas_owner', database },
    ]);
    const owner = `select pg_get_userbyid(datdba) as owner from pg_database where datname = 'gpuaas'`;
    expect(await query(address(stack, 'DATABASE_URL'), owner)).toEqual([{ owner: 'gpuaas_owner' }]);
  });

  it('refuses a database connection without the password', async () => {
    const url = new URL(address(stack, 'DATABASE_URL'));
    url.password = 'wrong';
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  it('declares the namespace, its retention and its search attributes', async () => {
    const { namespace, search_attributes: attributes } = config.temporal;
    await withTemporal(stack, async (connection) => {
      const found = await connection.workflowService.describeNamespace({ namespace });
      expect(Number(found.config?.workflowExecutionRetentionTtl?.seconds)).toBe(72 * 3600);
      const listed = await connection.operatorService.listSearchAttributes({ namespace });
      expect(Object.keys(listed.customAttributes ?? {})).toEqual(
        expect.arrayContaining(Object.keys(attributes)),
      );
    });
  });

  it(
    'makes a namespace that is missing',
    async () => {
      const other = { ...config, temporal: { ...config.temporal, namespace: 'later' } };
      await ensureTemporal(address(stack, 'TEMPORAL_ADDRESS'), other);
      await withTemporal(stack, async (connection) => {
        const listed = await connection.operatorService.listSearchAttributes({ namespace: 'later' });
        expect(listed.customAttributes).toHaveProperty('CorrelationId');
      });
    },
    TEST_DEADLINE_MS,
  );

  it('keeps Postgres rows through kill -9', async () => {
    await query(address(stack, 'DATABASE_OWNER_URL'), 'create table kept as select 42 as value');
    await restart(stack, 'postgres');
    expect(await query(address(stack, 'DATABASE_OWNER_URL'), 'select value from kept')).toEqual([
      { value: 42 },
    ]);
  });

  it('keeps Redis keys through kill -9', async () => {
    await withRedis(stack, (redis) => redis.set('kept', '42'));
    await restart(stack, 'redis');
    expect(await withRedis(stack, (redis) => redis.get('kept'))).toBe('42');
  });

  it('keeps JetStream messages through kill -9', async () => {
    const first = await connectNats({ servers: address(stack, 'NATS_URL') });
    const manager = await first.jetstreamManager();
    await manager.streams.add({ name: 'KEPT', subjects: ['kept'] });
    await first.jetstream().publish('kept', '42');
    await first.close();
    await restart(stack, 'nats');
    const second = await connectNats({ servers: address(stack, 'NATS_URL') });
    const message = await (await second.jetstreamManager()).streams.getMessage('KEPT', { seq: 1 });
    expect(message.string()).toBe('42');
    await second.close();
  });

  it('keeps Temporal runs through kill -9', async () => {
    const { namespace } = config.temporal;
    const workflowId = 'kept-1';
    await withTemporal(stack, (connection) =>
      connection.workflowService.startWorkflowExecution({
        namespace,
        workflowId,
        requestId: workflowId,
        workflowType: { name: 'kept' },
        taskQueue: { name: 'nobody-polls' },
      }),
    );
    await restart(stack, 'temporal');
    await withTemporal(stack, async (connection) => {
      const execution = { workflowId };
      const found = await connection.workflowService.describeWorkflowExecution({ namespace, execution });
      expect(found.workflowExecutionInfo?.type?.name).toBe('kept');
    });
  });

  it('comes back usable after the Temporal database was deleted', async () => {
    await stack.parts.temporal.kill();
    rmSync(path.join(stack.stateDir, 'temporal'), { recursive: true });
    await stack.parts.temporal.start();
    await withTemporal(stack, (connection) =>
      connection.workflowService.countWorkflowExecutions({
        namespace: config.temporal.namespace,
        query: `State = 'ACTIVE' and OrgId = 'o'`,
      }),
    );
  });

  it(
    'runs beside another one without sharing a port or data',
    async () => {
      const options = {
        name: 'test-stack',
        ports: 'free',
        ephemeral: true,
        parts: ['postgres', 'redis'],
      } as const;
      const others = await Promise.all([startStack(options), startStack(options)]);
      const ports = [stack, ...others].flatMap((one) => [one.parts.postgres.port, one.parts.redis.port]);
      expect(new Set(ports).size).toBe(ports.length);
      await withRedis(stack, (redis) => redis.set('whose', 'first'));
      for (const other of others) expect(await withRedis(other, (redis) => redis.get('whose'))).toBeNull();
      await expect(others[0].parts.nats.start()).rejects.toThrow('started without nats');
      await Promise.all(others.map((other) => other.stop()));
    },
    TEST_DEADLINE_MS,
  );

  it('is used, and neither started nor ended, by a stack that finds its addresses in the environment', async () => {
    const saved = { ...process.env };
    Object.assign(process.env, stack.env);
    try {
      const guest = await startStack({
        name: 'test-guest',
        ports: 'free',
        ephemeral: true,
        useEnvironment: true,
      });
      expect(guest.parts.postgres.pid()).toBeUndefined();
      expect(guest.env['REDIS_URL']).toBe(stack.env['REDIS_URL']);
      await expect(guest.parts.redis.kill()).rejects.toThrow('not ours to kill');
      await guest.stop();
    } finally {
      for (const name of Object.keys(stack.env)) delete process.env[name];
      Object.assign(process.env, saved);
    }
    expect(await withRedis(stack, (redis) => redis.ping())).toBe('PONG');
  });
});

/** Runs a stack in a process of its own; returns the process and the ids of all its servers. */
async function stackInChild(name: string): Promise<{ child: ReturnType<typeof spawn>; servers: number[] }> {
  const url = new URL('../../workers/local/stack.ts', import.meta.url).href;
  const script = `
    import { startStack } from '${url}';
    const stack = await startStack({ name: '${name}', ports: 'free' });
    console.log(JSON.stringify(Object.values(stack.parts).map((part) => part.pid())));
    setInterval(() => undefined, 1000);`;
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', script];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const parts = JSON.parse(line) as number[];
  return { child, servers: [...parts, ...parts.flatMap(descendantsOf)] };
}

describe('a stack whose process is killed', () => {
  it(
    'leaves no server behind, and starts again with its data',
    async () => {
      const name = 'test-orphans';
      const { child, servers } = await stackInChild(name);
      expect(servers.length).toBeGreaterThan(PART_NAMES.length); // Postgres has children
      await expect(startStack({ name, ports: 'free' })).rejects.toThrow(/running already, by process \d+/);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      await waitUntil(() => servers.every((pid) => !isAlive(pid)), {
        deadlineMs: 15_000,
        onTimeout: () => `still alive: ${servers.filter(isAlive).join(', ')}`,
      });
      const again = await startStack({ name, ports: 'free' });
      expect(await query(address(again, 'DATABASE_URL'), 'select 1 as one')).toEqual([{ one: 1 }]);
      await again.stop();
      expect(existsSync(await wipeStack(name))).toBe(false);
    },
    TEST_DEADLINE_MS,
  );
});

describe('ports', () => {
  it(
    'are refused with the name of their holder',
    async () => {
      const { port, release } = await reserveFreePort('test');
      const server = createServer();
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      await expect(assertPortFree(port, 'redis')).rejects.toThrow(
        new RegExp(`port ${port} \\(redis\\) is taken by process ${process.pid} `),
      );
      server.close();
      release();
    },
    TEST_DEADLINE_MS,
  );

  it('are given to one taker each', async () => {
    const taken = await Promise.all(Array.from({ length: 40 }, () => reserveFreePort('test')));
    expect(new Set(taken.map(({ port }) => port)).size).toBe(40);
    taken.forEach(({ release }) => release());
  });
});
