import { and, desc, eq, getTableColumns, lt, sql, type SQL } from 'drizzle-orm';
import type { DeadLetterDetailView, DeadLetterView } from '../../contracts/ops/dead-letter.api.ts';
import {
  deadLetterHeaders,
  replayHeader,
  type DeadLetterReason,
  type DeadLetterState,
} from '../../contracts/ops/dead-letter.ts';
import type { LetterStanding } from '../../contracts/ops/dlq-replay.guards.ts';
import type { Queryable } from '../client.ts';
import { deadLetters } from '../schema.ts';
import { hasEffect, isCut } from './dead-letter-desk.store.ts';
import type { DeadLetterRow } from './dead-letter.schema.ts';

export interface DeadLetterFilter {
  readonly state?: DeadLetterState | undefined;
  readonly subject?: string | undefined;
  readonly consumer?: string | undefined;
  readonly reason?: DeadLetterReason | undefined;
}

/** A page of letters does not load their messages. */
const { body: _body, ...listed } = getTableColumns(deadLetters);
type ListedLetter = Omit<DeadLetterRow, 'body'>;

/** It was replayed, and its consumer remembers the event. */
const resolved = sql<boolean>`(dead_letters.state = 'replayed' and ${hasEffect})`;

const viewOf = (row: ListedLetter, isResolved: boolean): DeadLetterView => ({
  id: row.id,
  state: row.state,
  resolved: isResolved,
  consumer: row.consumer,
  consumer_group: row.consumerGroup,
  subject: row.subject,
  event_id: row.eventId,
  correlation_id: row.correlationId,
  reason: row.reason,
  error_code: row.errorCode,
  detail: row.detail,
  deliveries: row.deliveries,
  first_at: row.firstAt.toISOString(),
  last_at: row.lastAt.toISOString(),
  arrivals: row.arrivals,
  replays: row.replays,
  discard_reason: row.discardReason,
  updated_at: row.updatedAt.toISOString(),
});

/** A letter of a list, and its position there. */
export interface ListedDeadLetter {
  readonly view: DeadLetterView;
  readonly seq: number;
}

/** Letters, newest first; one more than `limit` when there are more. @param before position of the page before. */
export async function listDeadLetterViews(
  q: Queryable,
  filter: DeadLetterFilter,
  before: number | undefined,
  limit: number,
): Promise<ListedDeadLetter[]> {
  const t = deadLetters;
  const conditions: (SQL | undefined)[] = [
    filter.state === undefined ? undefined : eq(t.state, filter.state),
    filter.subject === undefined ? undefined : eq(t.subject, filter.subject),
    filter.consumer === undefined ? undefined : eq(t.consumer, filter.consumer),
    filter.reason === undefined ? undefined : eq(t.reason, filter.reason),
    before === undefined ? undefined : lt(t.seq, before),
  ];
  const rows = await q
    .select({ row: listed, resolved })
    .from(t)
    .where(and(...conditions))
    .orderBy(desc(t.seq))
    .limit(limit + 1);
  return rows.map((found) => ({ view: viewOf(found.row, found.resolved), seq: found.row.seq }));
}

/** A letter with what its guards look at. */
interface FoundDeadLetter {
  readonly view: DeadLetterView;
  readonly row: DeadLetterRow & Pick<LetterStanding, 'isCut'>;
}

/** The view of one letter; undefined when there is none. */
export async function getDeadLetterView(q: Queryable, id: string): Promise<FoundDeadLetter | undefined> {
  const [found] = await q
    .select({ row: { ...getTableColumns(deadLetters), isCut }, resolved })
    .from(deadLetters)
    .where(eq(deadLetters.id, id));
  return found && { view: viewOf(found.row, found.resolved), row: found.row };
}

/** Everything about a letter. `sanitise` removes secrets from what was in the message. */
export function deadLetterDetailView(
  found: FoundDeadLetter,
  sanitise: (value: unknown) => unknown,
): DeadLetterDetailView {
  const { view, row } = found;
  return {
    ...view,
    message_key: row.messageKey,
    stream: row.stream,
    stream_seq: row.streamSeq,
    dlq_seq: row.dlqSeq,
    headers: headersOf(row),
    history: row.history.map(({ dlq_seq, arrived_at, reason, error_code, detail, deliveries }) => ({
      dlq_seq,
      arrived_at,
      reason: reason as DeadLetterReason,
      error_code,
      detail,
      deliveries,
    })),
    body: bodyOf(row.body, sanitise),
    body_bytes: row.body.byteLength,
    whole_body_bytes: wholeBytesOf(row),
  };
}

const wholeBytesOf = (row: DeadLetterRow): number | null => row.history[0]?.whole_bytes ?? null;

/** The headers that the letter came with. */
function headersOf(row: DeadLetterRow): Record<string, string> {
  const wholeBytes = wholeBytesOf(row);
  // What recovery sends past a stream lies in REPLAYS too and carries no number.
  const isReplay = row.stream === 'REPLAYS' && row.replays > 0;
  const found = {
    [deadLetterHeaders.reason]: row.reason,
    [deadLetterHeaders.errorCode]: row.errorCode,
    [deadLetterHeaders.detail]: row.detail,
    [deadLetterHeaders.consumer]: row.consumer,
    [deadLetterHeaders.group]: row.consumerGroup,
    [deadLetterHeaders.subject]: row.subject,
    [deadLetterHeaders.stream]: row.stream,
    [deadLetterHeaders.streamSeq]: String(row.streamSeq),
    [deadLetterHeaders.deliveries]: String(row.deliveries),
    [deadLetterHeaders.firstAt]: row.firstAt.toISOString(),
    [deadLetterHeaders.lastAt]: row.lastAt.toISOString(),
    [deadLetterHeaders.wholeBytes]: wholeBytes === null ? null : String(wholeBytes),
    'Correlation-Id': row.correlationId,
    [replayHeader]: isReplay ? String(row.replays) : null,
  };
  const given = Object.entries(found).flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
  return Object.fromEntries(given) as Record<string, string>;
}

function bodyOf(body: Buffer, sanitise: (value: unknown) => unknown): Record<string, unknown> | null {
  try {
    const message: unknown = sanitise(JSON.parse(body.toString('utf8')));
    const isObject = typeof message === 'object' && message !== null && !Array.isArray(message);
    return isObject ? (message as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
