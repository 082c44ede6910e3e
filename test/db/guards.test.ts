import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { isPgEnum } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationStates } from '../../contracts/allocations/allocation.lifecycle.ts';
import { schedulerTypes } from '../../contracts/allocations/allocation.messages.ts';
import { allocationWaits } from '../../contracts/allocations/allocation.waits.ts';
import { nodeTaskKinds, nodeTaskStates } from '../../contracts/nodes/node-task.tasks.ts';
import { nodeStates } from '../../contracts/nodes/node.api.ts';
import { operationKinds } from '../../contracts/ops/operation.api.ts';
import * as schema from '../../db/schema.ts';
import { queryAs } from '../harness/database.ts';
import { createTestDatabase, type TestDatabase } from '../harness/stack.ts';

type RoleUrl = 'ownerUrl' | 'appUrl' | 'testUrl';
const insufficientPrivilege = '42501';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await queryAs(
    database.appUrl,
    `insert into audit_logs (at, actor_role, action, target_type, result, correlation_id, details)
     values (gpuaas_now(), 'admin', 'policy.set', 'policy', 'succeeded', 'c-1', '{}')`,
  );
  await queryAs(
    database.appUrl,
    `insert into timeline (entity_id, seq, stem, event, to_state, at, actor_type, correlation_id)
     values ($1, 1, 'allocation', 'requested', 'requested', gpuaas_now(), 'user', 'c-1')`,
    [randomUUID()],
  );
});
afterAll(() => database.drop());

/** SQLSTATE of the refusal; undefined when the statement was taken. */
async function refusalOf(role: RoleUrl, text: string): Promise<string | undefined> {
  try {
    await queryAs(database[role], text);
    return undefined;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code;
    throw error;
  }
}

const changes = [
  ['audit_logs', `update audit_logs set result = 'refused'`],
  ['audit_logs', 'delete from audit_logs'],
  ['audit_logs', 'truncate audit_logs'],
  ['timeline', `update timeline set reason = 'rewritten'`],
  ['timeline', 'delete from timeline'],
  ['timeline', 'truncate timeline'],
] as const;

describe.each(['appUrl', 'ownerUrl', 'testUrl'] as const)(
  'append-only tables, for the role of %s',
  (role) => {
    it.each(changes)('%s: %s is refused and changes nothing', async (table, text) => {
      const read = () => queryAs(database.ownerUrl, `select * from ${table}`);
      const before = await read();
      expect(before.length).toBe(1);
      expect(await refusalOf(role, text)).toBe(insufficientPrivilege);
      expect(await read()).toEqual(before);
    });
  },
);

describe('the clock', () => {
  const offset = (interval: string): string =>
    `update clock_offset set clock_offset = interval '${interval}'`;
  const drift = async (): Promise<number> => {
    const [row] = await queryAs<{ ms: string }>(
      database.appUrl,
      'select round(extract(epoch from gpuaas_now() - clock_timestamp()) * 1000) as ms',
    );
    return Number(row?.ms);
  };

  it('is moved by the test role, for everybody', async () => {
    await queryAs(database.testUrl, offset('3 days'));
    try {
      const threeDaysMs = 259_200_000;
      expect(Math.abs((await drift()) - threeDaysMs)).toBeLessThan(1000);
    } finally {
      await queryAs(database.testUrl, offset('0'));
    }
    expect(Math.abs(await drift())).toBeLessThan(1000);
  });

  it.each([
    ['changed', 'appUrl', offset('1 hour')],
    ['removed', 'appUrl', 'delete from clock_offset'],
    [
      'added',
      'appUrl',
      `insert into clock_offset (singleton, clock_offset) values (true, interval '1 hour')`,
    ],
    ['removed', 'testUrl', 'delete from clock_offset'],
    [
      'redefined',
      'appUrl',
      `create or replace function gpuaas_now() returns timestamptz language sql as 'select now()'`,
    ],
  ] as const)('is not %s by the role of %s', async (_, role, text) => {
    expect(await refusalOf(role, text)).toBe(insufficientPrivilege);
    expect(Math.abs(await drift())).toBeLessThan(1000);
  });

  it('has milliseconds, as every instant of the product', async () => {
    const [row] = await queryAs<{ micros: string }>(
      database.appUrl,
      'select extract(microseconds from gpuaas_now())::bigint % 1000 as micros',
    );
    expect(Number(row?.micros)).toBe(0);
  });
});

describe('roles', () => {
  it.each([
    'create table planted (a int)',
    'alter table orgs add column planted int',
    'drop table orgs',
    'create role planted',
  ])('gpuaas_app cannot: %s', async (text) => {
    expect(await refusalOf('appUrl', text)).toBe(insufficientPrivilege);
  });

  it('gpuaas_test writes nothing but the clock', async () => {
    const rights = await queryAs<{ right: string }>(
      database.ownerUrl,
      `select table_name || ': ' || privilege_type as right from information_schema.table_privileges
        where grantee = 'gpuaas_test' and privilege_type <> 'SELECT'`,
    );
    expect(rights.map(({ right }) => right)).toEqual(['clock_offset: UPDATE']);
  });
});

describe('enums', () => {
  const fromContract: Readonly<Record<string, readonly string[]>> = {
    allocation_state: allocationStates,
    scheduler_type: schedulerTypes,
    node_state: nodeStates,
    node_task_kind: nodeTaskKinds,
    node_task_state: nodeTaskStates,
    operation_kind: operationKinds,
  };

  it('have the values of the contract, in its order', async () => {
    const rows = await queryAs<{ name: string; values: string[] }>(
      database.ownerUrl,
      `select t.typname as name, array_agg(e.enumlabel::text order by e.enumsortorder) as values
         from pg_type t join pg_enum e on e.enumtypid = t.oid group by t.typname`,
    );
    const found = Object.fromEntries(rows.map(({ name, values }) => [name, values]));
    expect(found).toEqual(expect.objectContaining(fromContract));
    const inSchema = Object.values(schema).filter((value) => isPgEnum(value));
    expect(found).toEqual(Object.fromEntries(inSchema.map((one) => [one.enumName, [...one.enumValues]])));
    const unblockers = Object.values(allocationWaits).map((wait) => wait.whoCanUnblock as string);
    expect(unblockers.filter((name) => !found['unblocker']?.includes(name))).toEqual([]);
  });
});
