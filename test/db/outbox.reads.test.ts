import { sql } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { openDatabase, type Database, type Queryable } from '../../db/client.ts';
import { unpublished, unpublishedOf } from '../../db/ops/outbox.store.ts';
import { partitionOf, publish } from '../../db/outbox.ts';
import { queryAs } from '../harness/database.ts';
import { until } from '../harness/lab.ts';
import { sampleEvent } from '../harness/sample-event.ts';
import { createTestDatabase } from '../harness/stack.ts';

/**
 * What an outage has gathered is read in batches, and a batch must cost what is in it, not what still waits. Statistics
 * are of another time, so the planner is wrong about what waits, whichever way.
 */
const limit = 200;
const backlog = 2400;
const perAggregate = 4;
const history = 900;

/** When the table was analysed last. */
type Statistics = 'never' | 'while nothing waited' | 'while everything waited';

interface Filled {
  readonly db: Database;
  /** Lives for long: all but the last of its events are published. */
  readonly veteran: string;
}

const opened: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of opened.reverse()) await close();
});

/** A database in which `backlog` events wait, and those of one long life are published. */
async function filled(statistics: Statistics): Promise<Filled> {
  const database = await createTestDatabase();
  opened.push(() => database.drop());
  const url = database.appUrl;
  const db = openDatabase({ url, applicationName: 'relay', max: 1 });
  opened.push(() => db.close());
  const asOwner = (text: string) => queryAs(database.ownerUrl, text);
  // From now on the statistics stay as they are.
  await asOwner('alter table outbox set (autovacuum_enabled = false)');
  const veteran = randomUUID();
  const published = Array.from({ length: history }, (_, at) => sampleEvent(veteran, at + 1));
  await db.tx(async (tx) => {
    for (const event of published) await publish(tx, provisioningFailed, event);
  });
  if (statistics === 'while everything waited') await asOwner('analyze outbox');
  await db.q.execute(sql`update outbox set published_at = now()`);
  if (statistics === 'while nothing waited') await asOwner('analyze outbox');
  await clearAway(url, veteran);
  await db.tx(async (tx) => {
    await publish(tx, provisioningFailed, sampleEvent(veteran, history + 1));
    for (let at = 0; at < backlog; at += perAggregate) {
      const aggregateId = randomUUID();
      for (let seq = 1; seq <= perAggregate; seq += 1)
        await publish(tx, provisioningFailed, sampleEvent(aggregateId, seq));
    }
  });
  return { db, veteran };
}

/**
 * Whoever meets the entry of a row that was published clears it away, as soon as no older snapshot can see the row: one of
 * the server's own maintenance, perhaps. That is not what is counted here, and neither are plans made for it.
 */
async function clearAway(url: string, veteran: string): Promise<void> {
  const db = openDatabase({ url, applicationName: 'clearing', max: 1 });
  await until('nothing is left to clear away', async () => {
    const { cost } = await costOf(db, async (tx) => {
      await tx.execute(sql`set local enable_seqscan = off`);
      await unpublished(tx, partitionOf(veteran), limit);
      await unpublishedOf(tx, [veteran]);
    });
    return cost === 0;
  });
  await db.close();
}

/** Entries of the outbox's indexes and rows of the table that this transaction has read so far. */
async function readSoFar(q: Queryable): Promise<number> {
  const counted = await q.execute<{ count: string }>(sql`
    select pg_stat_get_xact_tuples_returned('outbox'::regclass) + sum(pg_stat_get_xact_tuples_returned(indexrelid))
      as count from pg_index where indrelid = 'outbox'::regclass`);
  return Number(counted.rows[0]?.count);
}

/** How much is read for what `read` returns. */
const costOf = <T>(of: Database, read: (q: Queryable) => Promise<T>) =>
  of.tx(async (tx) => {
    const before = await readSoFar(tx);
    const found = await read(tx);
    return { found, cost: (await readSoFar(tx)) - before };
  });

describe.each<Statistics>(['never', 'while nothing waited', 'while everything waited'])(
  'a batch of an outbox that was analysed %s',
  (statistics) => {
    let at: Filled;
    beforeAll(async () => {
      at = await filled(statistics);
    });

    it('costs what is in it, however much waits', async () => {
      const { found, cost } = await costOf(at.db, (q) => unpublished(q, partitionOf(at.veteran), limit));
      expect(found.length).toBeGreaterThanOrEqual(limit);
      expect(found.length).toBeLessThan(limit + perAggregate);
      // Once for the oldest, once for their aggregates.
      expect(cost).toBeGreaterThanOrEqual(2 * limit);
      expect(cost).toBeLessThan(3 * limit);
    });

    it('leaves the published events of a long life alone', async () => {
      const { found, cost } = await costOf(at.db, (q) => unpublishedOf(q, [at.veteran]));
      expect(found.map((row) => row.aggregateSeq)).toEqual([history + 1]);
      expect(cost).toBeLessThan(10);
    });
  },
);
