import { AsyncLocalStorage } from 'node:async_hooks';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import * as schema from './schema.ts';

export type Db = NodePgDatabase<typeof schema>;
export type Tx = Parameters<Parameters<Db['transaction']>[0]>[0];
/** What a store takes: the pool for one statement, or a transaction. */
export type Queryable = Db | Tx;

export interface Database {
  /** One statement on any free connection. */
  readonly q: Db;
  /** A transaction; repeated, at most ten times, when Postgres asks for it (40001, 40P01). */
  tx<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const held = new AsyncLocalStorage<{ connections: number }>();

/** Connections that this async context holds inside `tx`. */
export const heldConnections = (): number => held.getStore()?.connections ?? 0;

/** Called before every wait on Temporal, NATS, Redis or a node: a held connection there is a defect. */
export function assertNoConnectionHeld(waitingFor: string): void {
  if (heldConnections() > 0) throw new Error(`a database connection is held while waiting for ${waitingFor}`);
}

const maxAttempts = 10;
const repeatable = new Set(['40001', '40P01']);

const statementNames = new Map<string, string>();
/** Texts with lists of varying length must not fill the servers' memory. */
const maxPreparedStatements = 300;

/** Names every statement with parameters by its text, so that Postgres parses and plans it once per connection. */
function prepareStatements(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown;
  const named = (config: unknown, values: unknown, ...rest: unknown[]): unknown => {
    if (typeof config !== 'object' || config === null || !('text' in config))
      return query(config, values, ...rest);
    const text = String(config.text);
    const mayPrepare = Array.isArray(values) && values.length > 0;
    let name = statementNames.get(text);
    if (name === undefined && mayPrepare && statementNames.size < maxPreparedStatements) {
      statementNames.set(text, (name = `s${statementNames.size}`));
    }
    return query(name === undefined ? config : { ...config, name }, values, ...rest);
  };
  Object.assign(client, { query: named });
}

/** Longer than the server's own limit, so that only a server that does not answer at all is met by it. */
const silenceMs = 3000;

/**
 * Opens a pool. `max` is the number of connections; a statement is ended by the server after `statementTimeoutMs`, and
 * one of whose end nothing is heard (a network that swallows packets) fails here a little later.
 */
export function openDatabase(options: {
  url: string;
  applicationName: string;
  max?: number;
  statementTimeoutMs?: number;
}): Database {
  const statementTimeoutMs = options.statementTimeoutMs ?? 10_000;
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.applicationName,
    max: options.max ?? 10,
    connectionTimeoutMillis: 3000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + silenceMs,
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
  });
  // A broken idle connection is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', prepareStatements);
  // The same for one that breaks within a transaction: its statement fails by itself.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const q = drizzle(pool, { schema });
  drivers.set(q, pool);
  return {
    q,
    tx: (work) => runTransaction(pool, work),
    close: () => pool.end(),
  };
}

async function runTransaction<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await held.run({ connections: heldConnections() + 1 }, () => onConnection(pool, work));
    } catch (error) {
      if (attempt >= maxAttempts || !repeatable.has(sqlState(error) ?? '')) throw error;
    }
  }
}

const sessions = new WeakMap<pg.PoolClient, Db>();
/** The driver under a pool's or a transaction's query builder. */
const drivers = new WeakMap<Queryable, pg.Pool | pg.PoolClient>();

/** Runs a finished statement on the driver itself: nothing is built per call. For `statement` in statement.ts. */
export async function runOnDriver<R extends pg.QueryResultRow>(
  q: Queryable,
  config: pg.QueryConfig,
): Promise<pg.QueryResult<R>> {
  const driver = drivers.get(q);
  if (driver === undefined) throw new Error('this is no pool and no transaction of openDatabase');
  return await driver.query<R>(config);
}

/** A transaction on a connection that is given back whatever happens, also when `begin` itself fails. */
async function onConnection<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let silent = false;
  try {
    let session = sessions.get(client);
    if (session === undefined) sessions.set(client, (session = drizzle(client, { schema })));
    return await session.transaction((tx) => {
      drivers.set(tx, client);
      return work(tx);
    });
  } catch (error) {
    silent = isSilence(error);
    throw error;
  } finally {
    // The pool drops one that is not queryable any more by itself, but not one that still waits for an answer.
    client.release(silent);
  }
}

/** The driver has given up waiting for an answer. */
function isSilence(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at.message === 'Query read timeout') return true;
  }
  return false;
}

/** SQLSTATE or Node's error code of a failed query, looking through the driver's wrappers. */
export function sqlState(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') return at.code;
  }
  return undefined;
}

/** 25006: a write to a server that is no primary any more; 25P03: a session that it ended for idling in a transaction. */
const unavailable =
  /^(08|57P0|53|25006|25P03|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)/;

/** True when the database could not be reached or refuses work for now: an upstream fault, not a defect. */
export function isDatabaseUnavailable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return unavailable.test(state);
  if (isSilence(error)) return true;
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (
      /Connection terminated|timeout exceeded when trying to connect|Client was closed|is not queryable/.test(
        at.message,
      )
    )
      return true;
  }
  return false;
}

/** Name of the violated constraint of a unique or check violation. */
export function violatedConstraint(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof pg.DatabaseError && (at.code === '23505' || at.code === '23514')) return at.constraint;
  }
  return undefined;
}
