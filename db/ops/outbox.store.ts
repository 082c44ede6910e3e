import { sql } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { statement } from '../statement.ts';

/** A partition held by a relay; `epoch` tells this holding from every other one. */
export interface PartitionLease {
  readonly partition: number;
  readonly owner: string;
  readonly epoch: number;
}

/** A row on its way out. */
export interface OutboxRow {
  readonly id: number;
  readonly eventId: string;
  readonly subject: string;
  readonly aggregateId: string;
  readonly aggregateSeq: number;
  readonly position: number;
  readonly partition: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly traceparent: string | null;
}

// Leases run on the bare clock of the database: a test that moves the product's time must not end them.
const leaseEnd = (leaseMs: number) => sql`clock_timestamp() + ${leaseMs}::int * interval '1 millisecond'`;

const intArray = (values: readonly number[]) => sql`${sql.param([...values])}::bigint[]`;
const uuidArray = (values: readonly string[]) => sql`${sql.param([...values])}::uuid[]`;

/** A lease that ends later than this many lengths from now was given before the clock was set back: it counts as over. */
const longestLease = 2;

/**
 * Takes up to `max` partitions that are free or whose lease ran out; their epoch grows.
 * @param leaseMs until when they are the owner's, from now.
 */
export async function claimPartitions(
  q: Queryable,
  owner: string,
  leaseMs: number,
  max: number,
): Promise<PartitionLease[]> {
  if (max <= 0) return [];
  const result = await q.execute<{ partition: number; epoch: string }>(sql`
    update outbox_partitions set owner = ${owner}, epoch = epoch + 1, expires_at = ${leaseEnd(leaseMs)}
    where partition in (
      select partition from outbox_partitions
      where owner is null or expires_at is null or expires_at <= clock_timestamp()
        or expires_at > ${leaseEnd(leaseMs * longestLease)}
      order by partition limit ${max} for update skip locked
    )
    returning partition, epoch`);
  return result.rows.map((row) => ({ partition: row.partition, owner, epoch: Number(row.epoch) }));
}

/**
 * Prolongs leases. One that ran out but that nobody took is prolonged too: its epoch is still the holder's.
 * @returns the partitions that are still held; the others are lost.
 */
export async function renewPartitions(
  q: Queryable,
  leases: readonly PartitionLease[],
  leaseMs: number,
): Promise<number[]> {
  if (leases.length === 0) return [];
  const result = await q.execute<{ partition: number }>(sql`
    update outbox_partitions p set expires_at = ${leaseEnd(leaseMs)}
    from unnest(${intArray(leases.map((l) => l.partition))}, ${intArray(leases.map((l) => l.epoch))},
                ${sql.param(leases.map((l) => l.owner))}::text[]) as held(partition, epoch, owner)
    where p.partition = held.partition and p.epoch = held.epoch and p.owner = held.owner
    returning p.partition`);
  return result.rows.map((row) => row.partition);
}

/** Gives partitions back at once; one that has another holder meanwhile is left alone. */
export async function releasePartitions(q: Queryable, leases: readonly PartitionLease[]): Promise<void> {
  if (leases.length === 0) return;
  await q.execute(sql`
    update outbox_partitions p set owner = null, expires_at = null
    from unnest(${intArray(leases.map((l) => l.partition))}, ${intArray(leases.map((l) => l.epoch))},
                ${sql.param(leases.map((l) => l.owner))}::text[]) as held(partition, epoch, owner)
    where p.partition = held.partition and p.epoch = held.epoch and p.owner = held.owner`);
}

/** Most rows of one aggregate in one batch: a long one does not fill the batch alone. */
export const perAggregateMax = 50;

/** The columns of an `OutboxRow`. */
const rowColumns = `o.id::float8 as id, o.event_id as "eventId", o.subject, o.aggregate_id as "aggregateId",
  o.aggregate_seq as "aggregateSeq", o.position, o.partition, o.body, o.traceparent`;

// How many rows wait swings between none and all that an outage has gathered, so statistics are wrong when it matters:
// the plan must not hang on them. A range and an order by both columns say what one partition would not: only the index
// of what waits has this order. With `=` the primary key's would do as well, which has all that was ever published in
// front, or everything that waits would be collected first.
const unpublishedStatement = statement<
  { partition: number; limit: number; except: readonly string[] },
  OutboxRow
>(
  'outbox-unpublished',
  `with heads as (
    select aggregate_id, min(id) as first_id from (
      select aggregate_id, id from outbox
      where partition between :partition::int and :partition::int and published_at is null
        and aggregate_id <> all(:except::uuid[])
      order by partition, id limit :limit::int
    ) oldest group by aggregate_id
  )
  select ${rowColumns} from heads cross join lateral (
    select * from outbox where outbox.aggregate_id = heads.aggregate_id and published_at is null
    order by aggregate_seq, position limit ${perAggregateMax}
  ) o
  order by heads.first_id, o.aggregate_seq, o.position`,
);

/**
 * Unpublished rows of a partition: of each aggregate a gapless prefix by (aggregate_seq, position), at most
 * `perAggregateMax`, the aggregates that waited longest first. Never by a cursor over ids: a transaction that commits
 * late is found like any other.
 * @param limit bound on the rows whose aggregates are looked at; fewer rows than this are all there are.
 * @param except aggregates that are left out because they wait for a repeat.
 */
export const unpublished = (
  q: Queryable,
  partition: number,
  limit: number,
  except: readonly string[] = [],
): Promise<OutboxRow[]> => unpublishedStatement(q, { partition, limit, except });

/** Which of the partitions have an unpublished row. */
export async function partitionsWithWork(q: Queryable, partitions: readonly number[]): Promise<number[]> {
  if (partitions.length === 0) return [];
  const result = await q.execute<{ partition: number }>(sql`
    select p.partition::int as partition from unnest(${intArray(partitions)}) as p(partition)
    where exists (select 1 from outbox o where o.partition = p.partition and o.published_at is null)`);
  return result.rows.map((row) => row.partition);
}

const held = (lease: PartitionLease) => sql`exists (
  select 1 from outbox_partitions p
  where p.partition = ${lease.partition} and p.owner = ${lease.owner} and p.epoch = ${lease.epoch})`;

const markStatement = statement<
  { ids: readonly string[]; partition: number; owner: string; epoch: number },
  { id: string }
>(
  'outbox-mark',
  `update outbox set published_at = gpuaas_now()
  where id = any(:ids::bigint[]) and partition = :partition::int and published_at is null and exists (
    select 1 from outbox_partitions p
    where p.partition = :partition::int and p.owner = :owner::text and p.epoch = :epoch::bigint)
  returning id`,
);

/**
 * Marks rows as published, where the lease still stands: owner and epoch are checked in the same statement.
 * @returns how many were marked; 0 also when the lease was lost.
 */
export async function markPublished(
  q: Queryable,
  lease: PartitionLease,
  ids: readonly number[],
): Promise<number> {
  if (ids.length === 0) return 0;
  const { partition, owner, epoch } = lease;
  return (await markStatement(q, { ids: ids.map(String), partition, owner, epoch })).length;
}

/** As `markPublished`, by event id; ids of other partitions or of no row are ignored. */
export async function markPublishedEvents(
  q: Queryable,
  lease: PartitionLease,
  eventIds: readonly string[],
): Promise<number> {
  if (eventIds.length === 0) return 0;
  const result = await q.execute(sql`
    update outbox set published_at = gpuaas_now()
    where event_id = any(${uuidArray(eventIds)}) and partition = ${lease.partition} and published_at is null
      and ${held(lease)}`);
  return result.rowCount ?? 0;
}

/** What waits in a partition. */
export interface Backlog {
  readonly subjects: readonly string[];
  /** Of the oldest row, by the product's clock of now. */
  readonly oldestAgeMs: number;
  /** When that row was written, by the clock of then. */
  readonly oldestAt: Date;
}

/** The unpublished rows of a partition; undefined when there is none. */
export async function waiting(q: Queryable, partition: number): Promise<Backlog | undefined> {
  const result = await q.execute<{ subjects: string[] | null; age: string | null; at: string | null }>(sql`
    select array_agg(distinct subject) as subjects,
           extract(epoch from gpuaas_now() - min(created_at)) * 1000 as age,
           extract(epoch from min(created_at)) * 1000 as at
    from outbox where partition = ${partition} and published_at is null`);
  const row = result.rows[0];
  if (row?.subjects == null) return undefined;
  return { subjects: row.subjects, oldestAgeMs: Number(row.age), oldestAt: new Date(Number(row.at)) };
}

/** How far the relays are behind. `stuckRows` are those older than `stuckAfterMs`. */
export async function outboxLag(
  q: Queryable,
  stuckAfterMs = 60_000,
): Promise<{ count: number; oldestAgeMs: number; stuckRows: number }> {
  const result = await q.execute<{ count: string; age: string | null; stuck: string }>(sql`
    select count(*) as count, extract(epoch from gpuaas_now() - min(created_at)) * 1000 as age,
           count(*) filter (where created_at < gpuaas_now() - ${stuckAfterMs}::int * interval '1 millisecond') as stuck
    from outbox where published_at is null`);
  const row = result.rows[0];
  return {
    count: Number(row?.count ?? 0),
    oldestAgeMs: Number(row?.age ?? 0),
    stuckRows: Number(row?.stuck ?? 0),
  };
}

/**
 * Deletes published rows that are older and that the event log has (or has given up, with a dead letter), at most
 * `limit`: until then the row may be the only copy that is left of an event whose stream was lost.
 * @returns how many were deleted; call again while it equals the limit.
 */
export async function deletePublished(q: Queryable, olderThanMs: number, limit: number): Promise<number> {
  const result = await q.execute(sql`
    delete from outbox where id in (
      select o.id from outbox o
      where o.published_at < gpuaas_now() - ${olderThanMs} * interval '1 millisecond' and (
        exists (
          select 1 from consumed_events c
          where c.consumer = 'event-log--' || replace(o.subject, '.', '-') and c.event_id = o.event_id)
        or exists (
          select 1 from dead_letters d
          where d.consumer = 'event-log--' || replace(o.subject, '.', '-') and d.message_key = o.event_id::text))
      order by o.published_at limit ${limit} for update of o skip locked
    )`);
  return result.rowCount ?? 0;
}

const unpublishedOfStatement = statement<{ aggregates: readonly string[] }, OutboxRow>(
  'outbox-unpublished-of',
  `select ${rowColumns} from unnest(:aggregates::uuid[]) as wanted(aggregate_id) cross join lateral (
    select * from outbox where outbox.aggregate_id = wanted.aggregate_id and published_at is null
    order by aggregate_seq, position limit ${perAggregateMax}
  ) o
  order by o.aggregate_id, o.aggregate_seq, o.position`,
);

/** Unpublished rows of some aggregates: of each a gapless prefix as in `unpublished`; none of those that have none. */
export const unpublishedOf = (q: Queryable, aggregateIds: readonly string[]): Promise<OutboxRow[]> =>
  unpublishedOfStatement(q, { aggregates: aggregateIds });

/** The aggregates of a partition with an unpublished row on any of the subjects, and on which of them. */
export async function aggregatesWaitingOn(
  q: Queryable,
  partition: number,
  subjects: readonly string[],
): Promise<{ aggregateId: string; subjects: string[] }[]> {
  const result = await q.execute<{ aggregate_id: string; subjects: string[] }>(sql`
    select aggregate_id, array_agg(distinct subject) as subjects from outbox
    where partition = ${partition} and published_at is null and subject = any(${sql.param([...subjects])}::text[])
    group by aggregate_id`);
  return result.rows.map((row) => ({ aggregateId: row.aggregate_id, subjects: row.subjects }));
}
