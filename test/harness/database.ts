import pg from 'pg';

/** The migrated database that every test database is copied from. Nobody may stay connected to it. */
export const templateName = 'gpuaas_template';

/** The same server and role, another database. */
export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.toString();
}

/**
 * Runs one statement on a connection of its own and closes it.
 * @throws pg.DatabaseError with the code of the refusal.
 */
export async function queryAs<Row extends pg.QueryResultRow = Record<string, unknown>>(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined); // the statement fails with it
  await client.connect();
  try {
    return (await client.query<Row>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}
