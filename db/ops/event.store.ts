import { sql } from 'drizzle-orm';
import type { Queryable, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { consumedEvents, eventLog } from '../schema.ts';

/**
 * Remembers that a consumer has an event's effect; call it in the effect's transaction, before the effect.
 * @param consumer durable name, the same for a replay.
 * @returns false when it was remembered before: there is nothing to do.
 */
export async function rememberEvent(q: Queryable, consumer: string, eventId: string): Promise<boolean> {
  const inserted = await q
    .insert(consumedEvents)
    .values({ consumer, eventId, at: now })
    .onConflictDoNothing()
    .returning({ eventId: consumedEvents.eventId });
  return inserted.length > 0;
}

/** True when the consumer has the event's effect. */
export async function isRemembered(q: Queryable, consumer: string, eventId: string): Promise<boolean> {
  const found = await q.execute(
    sql`select 1 from consumed_events where consumer = ${consumer} and event_id = ${eventId}`,
  );
  return found.rows.length > 0;
}

/** An event as it goes into the log. */
export interface LoggedEvent {
  readonly eventId: string;
  readonly subject: string;
  readonly version: string;
  readonly correlationId: string;
  readonly occurredAt: Date;
  readonly payload: Record<string, unknown>;
  readonly stream: string;
  readonly streamSeq: number;
}

/** Appends to the event log; an event that is there stays as it is. */
export async function logEvent(tx: Tx, event: LoggedEvent): Promise<void> {
  await tx
    .insert(eventLog)
    .values({ ...event, receivedAt: now })
    .onConflictDoNothing({ target: eventLog.eventId });
}

/** What is kept for how many days. */
export interface EventRetention {
  readonly memoryDays: number;
  readonly logDays: number;
  readonly notificationDays: number;
}

/**
 * Deletes one batch of each of what consumers remember, the event log and the notifications, where older than its days.
 * @returns how many rows went; call again while any batch was full.
 */
export async function ageOut(
  q: Queryable,
  retention: EventRetention,
  batch: number,
): Promise<{ readonly memory: number; readonly log: number; readonly notifications: number }> {
  const before = (days: number) => sql`gpuaas_now() - make_interval(days => ${days})`;
  const memory = await q.execute(sql`
    delete from consumed_events where (consumer, event_id) in (
      select consumer, event_id from consumed_events where at < ${before(retention.memoryDays)} order by at limit ${batch})`);
  const log = await q.execute(sql`
    delete from event_log where id in (
      select id from event_log where received_at < ${before(retention.logDays)} order by received_at limit ${batch})`);
  const notifications = await q.execute(sql`
    delete from notifications where id in (
      select id from notifications where created_at < ${before(retention.notificationDays)} limit ${batch})`);
  return {
    memory: memory.rowCount ?? 0,
    log: log.rowCount ?? 0,
    notifications: notifications.rowCount ?? 0,
  };
}

/** A durable consumer and the subject whose events it owes an effect. */
export interface Owing {
  readonly consumer: string;
  readonly subject: string;
}

/**
 * Has the relay publish again what some consumer still owes: published rows of the subjects whose event a consumer has
 * neither the effect nor a dead letter of. For a stream that was lost with its messages; the others find a repeat.
 * @param limit rows of one statement.
 * @returns how many rows were put back; call again while it equals the limit.
 */
export async function republishOwed(q: Queryable, owing: readonly Owing[], limit: number): Promise<number> {
  const result = await q.execute(sql`
    with owing as (
      select * from unnest(${sql.param(owing.map((one) => one.consumer))}::text[],
                           ${sql.param(owing.map((one) => one.subject))}::text[]) as o(consumer, subject)
    )
    update outbox set published_at = null where id in (
      select o.id from outbox o
      where o.published_at is not null and exists (
        select 1 from owing w where w.subject = o.subject
          and not exists (select 1 from consumed_events c where c.consumer = w.consumer and c.event_id = o.event_id)
          and not exists (
            select 1 from dead_letters d where d.consumer = w.consumer and d.message_key = o.event_id::text))
      order by o.id limit ${limit} for update skip locked
    )`);
  return result.rowCount ?? 0;
}
