import { sql, type SQL } from 'drizzle-orm';
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

/** As `remembering`, when the part `when` has a row. */
export const rememberingWhen = (when: string): string => `remembered as (
  insert into consumed_events (consumer, event_id, at)
  select :consumer::text, :event_id::uuid, gpuaas_now() where exists (select 1 from ${when})
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
  /** For dead letters that were dealt with, since that. */
  readonly letters: number;
  /** What consumers remember. */
  readonly memory: number;
  readonly log: number;
  readonly notifications: number;
}
export type AgedKind = keyof EventRetention;

/** Letters first: what a consumer remembers of one may go only after it. */
export const agedKinds = ['letters', 'memory', 'log', 'notifications'] as const satisfies readonly AgedKind[];

/** One batch of a kind: rows older than `before`, at most so many. */
const agedOut: Readonly<Record<AgedKind, (before: SQL, batch: number) => SQL>> = {
  // Locked first: a letter that comes back meanwhile is open, and stays. So does one whose effect is still owed, and one
  // that a running replay may still come to.
  letters: (before, batch) => sql`
    with old as materialized (
      select d.id from dead_letters d
      where d.state <> 'open' and d.updated_at < ${before}
        and (d.state = 'discarded' or exists (
          select 1 from consumed_events c where c.consumer = d.consumer and c.event_id = d.event_id))
        and not exists (
          select 1 from dlq_replays r
          where r.state = 'running' and case when r.filter ? 'dead_letter_id' then r.filter->>'dead_letter_id' = d.id::text
            else d.seq > r.after_seq and d.seq <= r.through_seq end)
      order by d.updated_at limit ${batch} for update of d skip locked
    )
    delete from dead_letters where id in (select id from old)`,
  // While there is a letter, its message can be sent again: who has forgotten it would have a second effect.
  memory: (before, batch) => sql`
    delete from consumed_events where (consumer, event_id) in (
      select c.consumer, c.event_id from consumed_events c
      where c.at < ${before} and not exists (
        select 1 from dead_letters d where d.consumer = c.consumer and d.message_key = c.event_id::text)
      order by c.at limit ${batch})`,
  log: (before, batch) => sql`
    delete from event_log where id in (
      select id from event_log where received_at < ${before} order by received_at limit ${batch})`,
  notifications: (before, batch) => sql`
    delete from notifications where id in (
      select id from notifications where created_at < ${before} limit ${batch})`,
};

/**
 * Deletes one batch of what consumers remember, of the event log, of the notifications or of the dead letters that were
 * dealt with, where older than so many days.
 * @returns how many rows went; call again while the batch was full.
 */
export async function ageOut(q: Queryable, kind: AgedKind, days: number, batch: number): Promise<number> {
  const before = sql`gpuaas_now() - make_interval(days => ${days})`;
  return (await q.execute(agedOut[kind](before, batch))).rowCount ?? 0;
}

/** A durable consumer and the subject whose events it owes an effect. */
export interface Owing {
  readonly consumer: string;
  readonly subject: string;
  /** What was published later is not looked at. */
  readonly until: Date;
}

const owingParameters = (owing: readonly Owing[]) => ({
  consumers: owing.map((one) => one.consumer),
  subjects: owing.map((one) => one.subject),
  untils: owing.map((one) => one.until.toISOString()),
});
type OwingParameters = ReturnType<typeof owingParameters>;

/** Parts of a statement: who owes, and whether a published row `p` is owed by `w`. */
const owingRows = `owing as (
    select * from unnest(:consumers::text[], :subjects::text[], :untils::timestamptz[]) as o(consumer, subject, until)
  )`;
const isOwed = `w.subject = p.subject and p.published_at <= w.until
      and not exists (select 1 from consumed_events c where c.consumer = w.consumer and c.event_id = p.event_id)
      and not exists (
        select 1 from dead_letters d where d.consumer = w.consumer and d.message_key = p.event_id::text)`;

/** A part of one statement: the next published rows of the outbox, by id. */
const publishedPage = `page as (
    select id, event_id, subject, published_at from outbox
    where id > :after::bigint and published_at is not null
    order by id limit :limit::int
  )`;

/** One page of the outbox that was looked through. */
export interface RepublishedPage {
  /** Rows that were put back. */
  readonly count: number;
  /** Where the next page begins; null when there is none. */
  readonly lastId: number | null;
}

const republishStatement = statement<OwingParameters & { after: number; limit: number }, RepublishedPage>(
  'outbox-republish',
  `with ${owingRows}, ${publishedPage}, put as (
    update outbox set published_at = null
    where published_at is not null and id in (
      select p.id from page p where exists (select 1 from owing w where ${isOwed}))
    returning id
  )
  select (select count(*) from put)::int as count, (select max(id) from page)::float8 as "lastId"`,
);

/**
 * Has the relay publish again what some consumer still owes: published rows of the subjects whose event a consumer has
 * neither the effect nor a dead letter of. For a stream that was lost with its messages; the others find a repeat.
 * @param afterId looks at rows with a larger id, 0 for all.
 * @param limit rows that one call looks at.
 */
export async function republishOwed(
  q: Queryable,
  owing: readonly Owing[],
  afterId: number,
  limit: number,
): Promise<RepublishedPage> {
  const [page] = await republishStatement(q, { ...owingParameters(owing), after: afterId, limit });
  return page ?? { count: 0, lastId: null };
}

/** An event that a consumer has neither the effect nor a dead letter of. */
export interface OwedEvent {
  readonly consumer: string;
  readonly eventId: string;
}

const owedStatement = statement<
  OwingParameters & { after: number; limit: number },
  { readonly lastId: number | null } & (OwedEvent | { readonly consumer: null })
>(
  'outbox-owed',
  `with ${owingRows}, ${publishedPage}, owed as (
    select p.id, p.event_id, w.consumer from page p join owing w on ${isOwed}
  )
  select seen.last_id::float8 as "lastId", owed.consumer, owed.event_id as "eventId"
  from (select max(id) as last_id from page) seen left join owed on true
  order by owed.id, owed.consumer`,
);

/**
 * Published events that consumers owe something, as `republishOwed` finds them; nothing is changed.
 * @param limit rows of the outbox that one call looks at.
 * @returns with `lastId` where the next page begins; null when there is none.
 */
export async function owedEvents(
  q: Queryable,
  owing: readonly Owing[],
  afterId: number,
  limit: number,
): Promise<{ readonly owed: readonly OwedEvent[]; readonly lastId: number | null }> {
  const rows = await owedStatement(q, { ...owingParameters(owing), after: afterId, limit });
  return {
    owed: rows.flatMap((row) => (row.consumer === null ? [] : [row])),
    lastId: rows[0]?.lastId ?? null,
  };
}

/** An event as the outbox has it. */
export interface StoredEvent {
  readonly eventId: string;
  readonly subject: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly traceparent: string | null;
}

const storedStatement = statement<{ ids: readonly string[] }, StoredEvent>(
  'outbox-stored',
  `select event_id as "eventId", subject, body, traceparent from outbox where event_id = any(:ids::uuid[])`,
);

/** Events of the outbox by id, with their bodies; those that it no longer has are left out. */
export async function storedEvents(q: Queryable, ids: readonly string[]): Promise<Map<string, StoredEvent>> {
  const rows = await storedStatement(q, { ids });
  return new Map(rows.map((row) => [row.eventId, row]));
}
