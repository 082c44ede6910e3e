import { sql } from 'drizzle-orm';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isDatabaseUnavailable, openDatabase, type Database } from '../../db/client.ts';
import { createTestDatabase, type TestDatabase } from '../harness/stack.ts';

/** A wire to Postgres that can be cut without either end hearing of it. */
class Wire {
  silent = false;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(to: { host: string; port: number }) {
    this.#server = createServer((near) => {
      const far = connect(to);
      for (const [from, into] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('data', (bytes) => {
          if (!this.silent) into.write(bytes);
        });
        from.on('error', () => undefined);
        from.on('close', () => into.destroy());
      }
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  /** What was connected stays silent; a new connection works. */
  replace(): void {
    for (const socket of this.#sockets) socket.pause();
    this.silent = false;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

let database: TestDatabase;
let wire: Wire;
let db: Database;

beforeAll(async () => {
  database = await createTestDatabase();
  const direct = new URL(database.appUrl);
  wire = new Wire({ host: direct.hostname, port: Number(direct.port) });
  const url = new URL(direct);
  url.hostname = '127.0.0.1';
  url.port = String(await wire.listen());
  db = openDatabase({ url: url.href, applicationName: 'silence', max: 2, statementTimeoutMs: 200 });
});
afterAll(async () => {
  await db.close();
  await wire.close();
  await database.drop();
});

describe('a network that swallows what is sent', () => {
  it('fails statements and transactions as an outage, and their connections are not used again', async () => {
    let entered: (() => void) | undefined;
    const inside = new Promise<void>((resolve) => (entered = resolve));
    let cut: (() => void) | undefined;
    const whenCut = new Promise<void>((resolve) => (cut = resolve));
    const transaction = db.tx(async (tx) => {
      await tx.execute(sql`select 1`);
      entered?.();
      await whenCut;
      await tx.execute(sql`select 2`);
    });
    await inside;
    await db.q.execute(sql`select 3`);
    wire.silent = true;
    cut?.();
    const ends = await Promise.allSettled([transaction, db.q.execute(sql`select 4`)]);
    const errors = ends.map((end) => (end.status === 'rejected' ? (end.reason as unknown) : 'it answered'));
    expect(errors.map(isDatabaseUnavailable)).toEqual([true, true]);
    wire.replace();
    const answers = await Promise.all([1, 2, 3, 4].map((n) => db.q.execute(sql`select ${n}::int as n`)));
    expect(answers.map(({ rows }) => rows[0])).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
    expect(await db.tx(async (tx) => (await tx.execute(sql`select 5 as n`)).rows)).toEqual([{ n: 5 }]);
  });
});
