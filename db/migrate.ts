/**
 * Brings a database to the current schema. As a command: `migrate` (DATABASE_OWNER_URL) or `seed` (DATABASE_URL).
 */
import { fileURLToPath } from 'node:url';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { openDatabase } from './client.ts';
import { seed } from './seed.ts';

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));
/** One migration at a time in a cluster; the number means nothing. */
const migrationLock = 7_267_401;
const lockTimeoutMs = 60_000;
const neededRoles = ['gpuaas_app', 'gpuaas_test'];

/**
 * Applies what is missing, in order, one process at a time.
 * @param ownerUrl address of the database for the role that owns its schema.
 * @throws Error when a role that gets its rights from the migrations does not exist.
 */
export async function migrate(ownerUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl, connectionTimeoutMillis: 5000 });
  // A break between two statements is an event; the next statement fails with it.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const found = await client.query<{ name: string }>(
      'select rolname as name from pg_roles where rolname = any($1)',
      [neededRoles],
    );
    const missing = neededRoles.filter((role) => !found.rows.some((row) => row.name === role));
    if (missing.length > 0) throw new Error(`create these database roles first: ${missing.join(', ')}`);
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    await applyMigrations(drizzle(client), { migrationsFolder });
  } finally {
    await client.end();
  }
}

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set`);
  return value;
}

async function main(command: string | undefined): Promise<void> {
  if (command === 'migrate') return await migrate(variable('DATABASE_OWNER_URL'));
  if (command !== 'seed') throw new Error('say migrate or seed');
  const db = openDatabase({ url: variable('DATABASE_URL'), applicationName: 'gpuaas-seed', max: 1 });
  try {
    await seed(db);
  } finally {
    await db.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv[2]).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    process.stderr.write(`${cause instanceof Error ? cause.message : 'failed'}\n`);
    process.exitCode = 1;
  });
}
