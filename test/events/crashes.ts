import { sql } from 'drizzle-orm';
import { spawnRelay, until, type World, type Writer } from './fixture.ts';

/**
 * Commits one event and has a relay process die right between its publish and its mark: the row is locked, so that the
 * mark waits while the message is in the stream already; then the process and its database session are killed.
 */
export async function dieBeforeMark(world: World, writer: Writer): Promise<void> {
  const [aggregate = ''] = writer.aggregates(1);
  await writer.commit(aggregate);
  await world.db.tx(async (tx) => {
    // A process starts meanwhile, however long that takes.
    await tx.execute(sql`set local idle_in_transaction_session_timeout = 0`);
    await tx.execute(sql`select 1 from outbox where aggregate_id = ${aggregate} for update`);
    const relay = await spawnRelay(world);
    await until('the event is stored', async () => (await writer.stored()).length === 1);
    await until('the mark waits for the row', async () => (await blockedRelaySessions(world)) > 0);
    await relay.kill();
    await until('its sessions are gone', async () => (await endRelaySessions(world)) === 0);
  });
}

async function blockedRelaySessions(world: World): Promise<number> {
  const result = await world.db.q.execute(
    sql`select 1 from pg_stat_activity where application_name = 'outbox-relay' and wait_event_type = 'Lock'`,
  );
  return result.rows.length;
}

/** A session outlives its client while it waits for a lock, and would mark the row after all. */
async function endRelaySessions(world: World): Promise<number> {
  const result = await world.db.q.execute(
    sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'outbox-relay'`,
  );
  return result.rows.length;
}
