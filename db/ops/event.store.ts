import { sql } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { now } from '../clock.ts';
import { consumedEvents } from '../schema.ts';
import { json, statement } from '../statement.ts';

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

/**
 * Part of one statement that remembers an event and writes its effect: `remembered` has a row when the effect is due.
 * Parameters `consumer` and `event_id`.
 */
export const remembering = `remembered as (
  insert into consumed_events (consumer, event_id, at) values (:consumer::text, :event_id::uuid, gpuaas_now())
  on conflict do nothing
  returning event_id
)`;

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

const logStatement = statement(
  'event-log',
  `with ${remembering}, logged as (
    insert into event_log (event_id, subject, version, correlation_id, occurred_at, payload, stream, stream_seq, received_at)
    select :event_id::uuid, :subject::text, :version::text, :correlation_id::text, :occurred_at::timestamptz, :payload::jsonb,
      :stream::text, :stream_seq::bigint, gpuaas_now()
    from remembered
    on conflict (event_id) do nothing
  )
  select event_id from remembered`,
);

/**
 * Appends to the event log and remembers that the consumer did; an event that is there stays as it is.
 * @returns false when it was remembered before.
 */
export async function logEvent(q: Queryable, consumer: string, event: LoggedEvent): Promise<boolean> {
  const rows = await logStatement(q, {
    consumer,
    event_id: event.eventId,
    subject: event.subject,
    version: event.version,
    correlation_id: event.correlationId,
    occurred_at: event.occurredAt,
    payload: json(event.payload),
    stream: event.stream,
    stream_seq: event.streamSeq,
  });
  return rows.length > 0;
}

/** What is kept for how many days. */
export interface EventRetention {
  readonly memoryDays: number;
  readonly logDays: number;
  readonly notificationDays: number;
  /** For dead letters that were dealt with, since that. */
  readonly letterDays: number;
}

/**
 * Deletes one batch of each of what consumers remember, the event log, the notifications and the dead letters that were
 * dealt with, where older than its days. A letter that a running replay may still come to stays.
 * @returns how many rows went; call again while any batch was full.
 */
export async function ageOut(
  q: Queryable,
  retention: EventRetention,
  batch: number,
): Promise<Readonly<Record<'memory' | 'log' | 'notifications' | 'letters', number>>> {
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
  // Locked first: a letter that comes back meanwhile is open, and stays.
  const letters = await q.execute(sql`
    with old as materialized (
      select d.id from dead_letters d
      where d.state <> 'open' and d.updated_at < ${before(retention.letterDays)} and not exists (
        select 1 from dlq_replays r
        where r.state = 'running' and case when r.filter ? 'dead_letter_id' then r.filter->>'dead_letter_id' = d.id::text
          else d.seq > r.after_seq and d.seq <= r.through_seq end)
      order by d.seq limit ${batch} for update of d skip locked
    )
    delete from dead_letters where id in (select id from old)`);
  return {
    memory: memory.rowCount ?? 0,
    log: log.rowCount ?? 0,
    notifications: notifications.rowCount ?? 0,
    letters: letters.rowCount ?? 0,
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
