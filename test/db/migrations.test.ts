/**
 * Every migration on a database that is in use: after each one the rows of `fixtures/NNNN.sql` are added, and the next ones
 * must leave them as they were, under all constraints and guards.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemaText } from '../../db/golden.ts';
import { migrate } from '../../db/migrate.ts';
import { queryAs, withDatabase } from '../harness/database.ts';
import { stackEnv } from '../harness/stack.ts';
import { root } from '../tidy/tree.ts';

const folder = path.join(root, 'db/migrations');
const fixtures = path.join(root, 'test/db/fixtures');
interface Journal {
  readonly entries: readonly { readonly idx: number; readonly tag: string }[];
}
const journal = JSON.parse(readFileSync(path.join(folder, 'meta/_journal.json'), 'utf8')) as Journal;
const numbers = journal.entries.map(({ tag }) => tag.slice(0, 4));

/** Tables that a later migration fills: a row of a fixture would be in its way. */
const filledLater: Readonly<Record<string, readonly string[]>> = {
  '0000': ['clock_offset', 'outbox_partitions'],
};

type Rows = ReadonlyMap<string, readonly string[]>;

const name = `gpuaas_migrations_${process.pid}`;
let ownerUrl: string;
let appUrl: string;
/** What stood in every table after each fixture. */
const after = new Map<string, Rows>();

beforeAll(async () => {
  await queryAs(stackEnv('DATABASE_OWNER_URL'), `create database ${name}`);
  ownerUrl = withDatabase(stackEnv('DATABASE_OWNER_URL'), name);
  appUrl = withDatabase(stackEnv('DATABASE_URL'), name);
  for (const number of numbers) {
    await migrateThrough(number);
    const file = path.join(fixtures, `${number}.sql`);
    // One that is missing is told below, by its name.
    if (existsSync(file)) await queryAs(ownerUrl, readFileSync(file, 'utf8'));
    after.set(number, await everyRow());
  }
});
afterAll(async () => {
  await queryAs(stackEnv('DATABASE_OWNER_URL'), `drop database if exists ${name} with (force)`);
});

/** Applies the migrations up to and with this one, as a release of that time did. */
async function migrateThrough(number: string): Promise<void> {
  const old = mkdtempSync(path.join(tmpdir(), 'gpuaas-migrations-'));
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    cpSync(folder, old, { recursive: true });
    const entries = journal.entries.slice(0, numbers.indexOf(number) + 1);
    writeFileSync(path.join(old, 'meta/_journal.json'), JSON.stringify({ ...journal, entries }));
    await applyMigrations(drizzle(client), { migrationsFolder: old });
  } finally {
    await client.end();
    rmSync(old, { recursive: true, force: true });
  }
}

async function everyRow(): Promise<Rows> {
  const tables = await queryAs<{ name: string }>(
    ownerUrl,
    `select table_name as name from information_schema.tables
      where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`,
  );
  const rows = new Map<string, readonly string[]>();
  for (const table of tables) {
    const found = await queryAs<{ row: string }>(
      ownerUrl,
      `select to_jsonb(t)::text as row from "${table.name}" t`,
    );
    rows.set(
      table.name,
      found.map(({ row }) => row),
    );
  }
  return rows;
}

/** SQLSTATE of the refusal; undefined when the statement was taken. Nothing of it stays. */
async function refusalOf(url: string, text: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('begin');
    await client.query(text);
    await client.query('set constraints all immediate');
    return undefined;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code;
    throw error;
  } finally {
    await client.query('rollback');
    await client.end();
  }
}

describe('the fixtures', () => {
  it('are one for each migration: a new one needs test/db/fixtures/NNNN.sql', () => {
    expect(readdirSync(fixtures).sort()).toEqual(numbers.map((number) => `${number}.sql`));
  });

  it.each(numbers)('%s adds rows, and leaves no table of its time empty', (number) => {
    const rows = after.get(number) ?? new Map<string, readonly string[]>();
    const empty = [...rows].filter(([, found]) => found.length === 0).map(([table]) => table);
    expect(empty).toEqual(filledLater[number] ?? []);
    const before = after.get(numbers[numbers.indexOf(number) - 1] ?? '');
    const count = (all: Rows | undefined): number => [...(all?.values() ?? [])].flat().length;
    expect(count(rows)).toBeGreaterThan(count(before));
  });
});

describe.each(numbers)('the rows as of %s', (number) => {
  it('are all there in the end, in each of their columns', async () => {
    const now = await everyRow();
    let compared = 0;
    for (const [table, rows] of after.get(number) ?? []) {
      const gone = await queryAs<{ row: string }>(
        ownerUrl,
        `select old::text as row from jsonb_array_elements($1::jsonb) old
          where not exists (select 1 from "${table}" t where to_jsonb(t) @> old)`,
        [`[${rows.join()}]`],
      );
      expect([table, gone]).toEqual([table, []]);
      expect(now.get(table)?.length, table).toBeGreaterThanOrEqual(rows.length);
      compared += rows.length;
    }
    expect(compared).toBeGreaterThan(0);
  });
});

describe('old rows under the schema of today', () => {
  it('is the golden one, and the product finds nothing left to migrate', async () => {
    const before = await everyRow();
    await migrate(ownerUrl);
    expect(await everyRow()).toEqual(before);
    expect(await schemaText(ownerUrl)).toBe(readFileSync(path.join(root, 'db/schema.golden.sql'), 'utf8'));
  });

  it('meet every constraint: none is left unchecked', async () => {
    const unchecked = `select conrelid::regclass || '.' || conname as name from pg_constraint
      where connamespace = 'public'::regnamespace and not convalidated`;
    expect(await queryAs(ownerUrl, unchecked)).toEqual([]);
    const invalid = `select indexrelid::regclass::text as name from pg_index where not indisvalid or not indisready`;
    expect(await queryAs(ownerUrl, invalid)).toEqual([]);
  });

  it('cannot come twice', async () => {
    const uniqueViolation = '23505';
    const refusals: (string | undefined)[][] = [];
    const tables = [...(await everyRow()).keys()];
    for (const table of tables) {
      const text = `insert into "${table}" overriding system value select * from "${table}" limit 1`;
      refusals.push([table, await refusalOf(ownerUrl, text)]);
    }
    expect(refusals).toEqual(tables.map((table) => [table, uniqueViolation]));
  });

  it('hold each other by their foreign keys', async () => {
    const keys = await queryAs<{ name: string; child: string; column: string }>(
      ownerUrl,
      `select c.conname as name, c.conrelid::regclass::text as child, a.attname as column
         from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        where c.contype = 'f' and c.connamespace = 'public'::regnamespace order by 1`,
    );
    expect(keys.length).toBeGreaterThan(0);
    for (const { name: key, child, column } of keys) {
      const stranger = column === 'sku' ? `'nowhere'` : `'ffffffff-0000-4000-8000-000000000000'`;
      expect([
        key,
        await refusalOf(
          ownerUrl,
          `update ${child} set ${column} = ${stranger} where ctid = (select min(ctid) from ${child})`,
        ),
      ]).toEqual([key, '23503']);
    }
  });

  // prettier-ignore
  const offences = [
    ['audit_logs_result',       `insert into audit_logs (at, actor_role, action, target_type, result, correlation_id, details)
                                 values (gpuaas_now(), 'user', 'x', 'x', 'perhaps', 'c', '{}')`],
    ['clock_offset_singleton',  'update clock_offset set singleton = false'],
    ['metered_allocations_end', 'update metered_allocations set ended_by = null'],
    ['nodes_slot_count',        'update nodes set slot_count = 0'],
    ['posix_identities_gid',    'update posix_identities set gid = 200000 where uid = 150000'],
    ['posix_identities_uid',    'update posix_identities set uid = 9999 where uid = 150000'],
    ['posix_identities_username', `update posix_identities set username = 'Ada' where uid = 150000`],
    ['skus_currency',           `update skus set currency = 'usd'`],
    ['skus_price',              'update skus set price_per_hour_minor = -1'],
  ] as const;
  it.each(offences)('are kept to %s', async (constraint, text) => {
    const checkViolation = '23514';
    expect([constraint, await refusalOf(ownerUrl, text)]).toEqual([constraint, checkViolation]);
  });

  it('are kept to every check: none is missing above', async () => {
    const checks = await queryAs<{ name: string }>(
      ownerUrl,
      `select conname as name from pg_constraint
        where contype = 'c' and connamespace = 'public'::regnamespace order by 1`,
    );
    expect(checks.map((check) => check.name)).toEqual(offences.map(([constraint]) => constraint));
  });

  it.each(['audit_logs', 'timeline'])(
    'of %s are append-only, also those that are older than the guard',
    async (table) => {
      expect(after.get('0000')?.get(table)?.length).toBeGreaterThan(0);
      for (const url of [ownerUrl, appUrl]) {
        for (const text of [
          `update ${table} set correlation_id = 'x'`,
          `delete from ${table}`,
          `truncate ${table}`,
        ])
          expect([text, await refusalOf(url, text)]).toEqual([text, '42501']);
      }
    },
  );

  it('are read and written by the product with its own rights', async () => {
    const tables = [...(await everyRow()).keys()];
    for (const table of tables)
      expect([table, (await queryAs(appUrl, `select 1 from "${table}" limit 1`)).length]).toEqual([table, 1]);
    // A new identity takes a number that no old row has.
    const [taken] = await queryAs<{ taken: boolean }>(
      appUrl,
      `select exists (select 1 from posix_identities where uid = id or gid = id) as taken from nextval('posix_ids') as id`,
    );
    expect(taken).toEqual({ taken: false });
  });
});
