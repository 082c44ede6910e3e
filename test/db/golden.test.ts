import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemaText } from '../../db/golden.ts';
import { migrate } from '../../db/migrate.ts';
import { queryAs, withDatabase } from '../harness/database.ts';
import { createTestDatabase, stackEnv, type TestDatabase } from '../harness/stack.ts';
import { root, runTool } from '../tidy/tree.ts';
import { keptDigests, migrationDigests } from './digests.ts';

const golden = readFileSync(path.join(root, 'db/schema.golden.sql'), 'utf8');
const filesOf = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('the golden schema', () => {
  it('is what the migrations make; `npm run golden` writes it after a new migration', async () => {
    expect(await schemaText(database.ownerUrl)).toBe(golden);
  });

  it('is the same when migrated anew and when migrated twice', async () => {
    const owner = stackEnv('DATABASE_OWNER_URL');
    const name = `${database.name}_anew`;
    await queryAs(owner, `create database ${name}`);
    try {
      const url = withDatabase(owner, name);
      await migrate(url);
      await migrate(url);
      expect(await schemaText(url)).toBe(golden);
    } finally {
      await queryAs(owner, `drop database ${name} with (force)`);
    }
  });

  /** Each of these must show, or the comparison is blind to it. */
  it.each([
    ['a column', 'alter table orgs add column planted text'],
    ['a type', 'alter table orgs alter column name type varchar(99)'],
    ['a default', "alter table orgs alter column name set default 'x'"],
    ['not null', 'alter table orgs alter column name drop not null'],
    ['a check', 'alter table orgs add constraint planted check (true)'],
    ['a foreign key', 'alter table users drop constraint users_org_id_orgs_id_fk'],
    ['an index', 'create index planted on orgs (name)'],
    ['an enum value', "alter type node_state add value 'planted'"],
    ['a sequence', 'create sequence planted'],
    ['a view', 'create view planted as select 1 as one'],
    [
      'a function',
      'create or replace function gpuaas_append_only() returns trigger language plpgsql as $$ begin return null; end $$',
    ],
    ['a trigger', 'drop trigger timeline_append_only on timeline'],
    ['a disabled trigger', 'alter table timeline disable trigger timeline_append_only'],
    ['a right', 'grant update on timeline to gpuaas_app'],
    ['a right on a column', 'grant update (reason) on timeline to gpuaas_app'],
    ['a right of a function', 'revoke execute on function gpuaas_now() from public'],
    ['a right of the schema', 'grant create on schema public to gpuaas_app'],
  ])('sees %s', async (_, change) => {
    const planted = await createTestDatabase();
    try {
      await queryAs(planted.ownerUrl, change);
      expect(await schemaText(planted.ownerUrl)).not.toBe(golden);
    } finally {
      await planted.drop();
    }
  });
});

describe('the migrations', () => {
  it('say what the schema files say: the generator has nothing to add', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gpuaas-migrations-'));
    try {
      const migrations = path.join(root, 'db/migrations');
      cpSync(migrations, folder, { recursive: true });
      const schema = path.join(root, 'db/schema.ts');
      // The generator takes `out` from the folder that it runs in.
      const args = [
        'generate',
        '--dialect',
        'postgresql',
        '--schema',
        schema,
        '--out',
        path.relative(root, folder),
      ];
      const run = await runTool('node_modules/drizzle-kit/bin.cjs', args, { cwd: root });
      expect(run.code, run.stderr).toBe(0);
      expect(filesOf(folder)).toEqual(filesOf(migrations));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('are as they were released; `npm run golden` notes a new one', () => {
    expect(Object.keys(keptDigests()).length).toBeGreaterThan(0);
    expect(migrationDigests()).toEqual(keptDigests());
  });

  it('are in the journal, each with its snapshot', () => {
    const journal = JSON.parse(readFileSync(path.join(root, 'db/migrations/meta/_journal.json'), 'utf8')) as {
      entries: { idx: number; tag: string }[];
    };
    const files = filesOf(path.join(root, 'db/migrations'));
    expect(files.filter((file) => file.endsWith('.sql'))).toEqual(
      journal.entries.map(({ tag }) => `${tag}.sql`),
    );
    const snapshots = journal.entries.map(({ tag }) => `meta/${tag.slice(0, 4)}_snapshot.json`);
    expect(files.filter((file) => file.endsWith('_snapshot.json'))).toEqual(snapshots);
  });
});
