import { getTableColumns, type Table } from 'drizzle-orm';
import type pg from 'pg';
import { runOnDriver, type Queryable } from './client.ts';

/** A value that is bound to a parameter. Objects and lists of JSON go through `json`, lists of SQL are arrays. */
type Bound = string | number | boolean | null | Date | Buffer | readonly string[];
export type Parameters = Readonly<Record<string, Bound>>;

/** A statement that was written once: its rows, and how many it touched. */
export type Statement<P extends Parameters, R> = (q: Queryable, parameters: P) => Promise<R[]>;

const parameterPattern = /(?<![:\w]):([a-z]\w*)/gi;

/**
 * A hot statement as finished text: it is neither built nor parsed per call, and Postgres plans it once per connection.
 * Parameters are written `:name`, with an explicit cast where Postgres cannot see their type.
 * @param name unique among all statements.
 */
export function statement<P extends Parameters = Parameters, R extends object = object>(
  name: string,
  text: string,
): Statement<P, R> {
  const order: string[] = [];
  const numbered = text.replace(parameterPattern, (_, parameter: string) => {
    if (!order.includes(parameter)) order.push(parameter);
    return `$${order.indexOf(parameter) + 1}`;
  });
  return async (q, parameters) => {
    const values = order.map((parameter) => {
      const value = parameters[parameter];
      if (value === undefined) throw new Error(`statement ${name} has no value for ${parameter}`);
      return value;
    });
    const result = await runOnDriver<R & pg.QueryResultRow>(q, { name, text: numbered, values });
    return result.rows;
  };
}

/**
 * A part of one statement, with `isLazy` as a condition of its change: its commit is not flushed by itself. Postgres
 * writes commits in order, so it is flushed with the next one that is. Only for what nobody outside learns before such
 * a commit, or what may be lost with the database (D-0011).
 */
export const lazily = `lazily(setting) as materialized (select set_config('synchronous_commit', 'off', true))`;
export const isLazy = `(select setting from lazily) = 'off'`;

/** A value for a `jsonb` parameter; null stays SQL's null. */
export const json = (value: object | null | undefined): string | null =>
  value == null ? null : JSON.stringify(value);

/** The columns of a table under the names that its rows have in code, as the list of a `select` or `returning`. */
export const columnsOf = (table: Table, alias: string): string =>
  Object.entries(getTableColumns(table))
    .map(([key, column]) => {
      // A 64-bit number arrives as text; those of ours are below 2^53.
      const cast = column.columnType === 'PgBigInt53' ? '::float8' : '';
      return `${alias}."${column.name}"${cast} as "${key}"`;
    })
    .join(', ');
