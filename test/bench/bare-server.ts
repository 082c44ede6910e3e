/** What an API read costs at least: Express, a pool, the product's row as JSON. No authentication, no limits, no log. */
import express from 'express';
import pg from 'pg';
import { z } from 'zod';

const env = z
  .object({
    DATABASE_URL: z.string(),
    BARE_PORT: z.coerce.number().int(),
    DATABASE_POOL_MAX: z.coerce.number().default(20),
  })
  .parse(process.env);

const pool = new pg.Pool({
  connectionString: env.DATABASE_URL,
  max: env.DATABASE_POOL_MAX,
  application_name: 'bare',
});
const app = express();

// The product's query: the row, its node's address, its user's name.
const statement = `
  select a.*, n.ssh_host, n.ssh_port, p.username
  from allocations a join nodes n on n.id = a.node_id join posix_identities p on p.user_id = a.user_id
  where a.id = $1`;

app.get('/allocations/:id', async (request, response) => {
  const found = await pool.query(statement, [request.params.id]);
  response.status(found.rows.length === 0 ? 404 : 200).json(found.rows[0] ?? null);
});

const server = app.listen(env.BARE_PORT, '127.0.0.1');
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  void pool.end();
});
