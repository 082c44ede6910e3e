/** Dead letters for tests, and the reader of what was sent again. */
import { randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import type { JsMsg, NatsConnection } from 'nats';
import type { DlqReplayState } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { consumerName, replaySubject } from '../../contracts/streams.ts';
import type { Database } from '../../db/client.ts';
import type { DeadLetterRow, DlqReplayRow } from '../../db/ops/dead-letter.schema.ts';
import { recordDeadLetter, type ArrivedLetter } from '../../db/ops/dead-letter.store.ts';
import { findDlqReplay } from '../../db/ops/dlq-replay.store.ts';
import { deadLetters } from '../../db/schema.ts';
import { readStream } from '../../workers/relay/read-stream.ts';
import { field, type ApiAnswer, type RequestOptions } from '../harness/api.ts';
import { queryAs } from '../harness/database.ts';
import { until, type Lab } from '../harness/lab.ts';

let lastDlqSeq = 0;

/** A letter as the desk takes it in. */
export function arrivedLetter(subject: string, given: Partial<ArrivedLetter> = {}): ArrivedLetter {
  const eventId = randomUUID();
  lastDlqSeq += 1;
  const body = { event_id: eventId, event_type: subject, payload: { access_token: 'hidden', note: 'seen' } };
  return {
    consumer: consumerName('billing', subject),
    consumerGroup: 'billing',
    messageKey: eventId,
    subject,
    eventId,
    correlationId: `corr-${eventId}`,
    reason: 'exhausted',
    errorCode: 'internal_error',
    detail: 'the effect failed',
    body: Buffer.from(JSON.stringify(body)),
    stream: 'PROVISIONING',
    streamSeq: 1_000_000 + lastDlqSeq,
    deliveries: 10,
    firstAt: new Date('2026-01-02T03:04:05.678Z'),
    lastAt: new Date('2026-01-02T03:05:05.678Z'),
    dlqSeq: 2_000_000 + lastDlqSeq,
    ...given,
  };
}

/**
 * Sets the product's clock to the start of an alert window, so that none ends while a test is at it.
 * @param testUrl of the role that may move the clock. @param ahead how many windows on from the present one.
 */
export async function enterAlertWindow(testUrl: string, windowSeconds: number, ahead: number): Promise<void> {
  await queryAs(
    testUrl,
    `update clock_offset set clock_offset =
       to_timestamp((floor(extract(epoch from statement_timestamp()) / $1::int) + $2::int) * $1::int) - statement_timestamp()`,
    [windowSeconds, ahead],
  );
}

/** Writes letters down, one arrival each. @returns their ids, in order of arrival. */
export async function plantLetters(
  db: Database,
  subject: string,
  count: number,
  given: Partial<ArrivedLetter> = {},
): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    ids.push((await db.tx((tx) => recordDeadLetter(tx, arrivedLetter(subject, given)))).id);
  }
  return ids;
}

/** The same message, given up once more. */
export async function arriveAgain(db: Database, id: string): Promise<void> {
  const { consumer, messageKey, eventId, subject, body } = await letterRow(db, id);
  const again = arrivedLetter(subject, { consumer, messageKey, eventId, body, lastAt: new Date() });
  await db.tx((tx) => recordDeadLetter(tx, again));
}

export async function letterRow(db: Database, id: string): Promise<DeadLetterRow> {
  const [row] = await db.q.select().from(deadLetters).where(eq(deadLetters.id, id));
  if (row === undefined) throw new Error(`no letter ${id}`);
  return row;
}

export const lettersOf = (db: Database, subject: string): Promise<DeadLetterRow[]> =>
  db.q.select().from(deadLetters).where(eq(deadLetters.subject, subject)).orderBy(deadLetters.seq);

/** A message that the stream REPLAYS holds. */
export interface Resent {
  readonly messageId: string;
  readonly attempt: string;
  readonly correlationId: string;
  readonly traceparent: string;
  readonly body: string;
}

/** What was sent again to the group on a subject, in order. */
export async function resentOn(nc: NatsConnection, subject: string, group = 'billing'): Promise<Resent[]> {
  const found: Resent[] = [];
  const header = (message: Pick<JsMsg, 'headers'>, name: string): string => message.headers?.get(name) ?? '';
  for await (const batch of readStream(nc, {
    stream: 'REPLAYS',
    subjects: [replaySubject(group, subject)],
  })) {
    for (const message of batch) {
      found.push({
        messageId: header(message, 'Nats-Msg-Id'),
        attempt: header(message, 'Gpuaas-Replay'),
        correlationId: header(message, 'Correlation-Id'),
        traceparent: header(message, 'traceparent'),
        body: message.string(),
      });
    }
  }
  return found;
}

/** An admin's call. */
export const asAdmin = (
  lab: Lab,
  method: string,
  at: string,
  options: RequestOptions = {},
): Promise<ApiAnswer> => lab.request(method, `/api/v1/admin/${at}`, { as: 'dev-admin', ...options });

/** Asks for a replay of a subject's letters until it is decided. @returns its id. */
export async function orderSurely(lab: Lab, subject: string, key: string = randomUUID()): Promise<string> {
  const body = { filter: { subject }, reason: 'the cause is mended' };
  let answer = await asAdmin(lab, 'POST', 'dlq-replays', { body, key });
  await until('the replay is accepted', async () => {
    if (answer.status !== 201) answer = await asAdmin(lab, 'POST', 'dlq-replays', { body, key });
    if (answer.status !== 201 && answer.status !== 202 && answer.status !== 503)
      throw new Error(`asking for a replay answered ${answer.status}`);
    return answer.status === 201;
  });
  return String(field(answer, 'id'));
}

export async function untilReplay(
  lab: Lab,
  id: string,
  ...states: readonly DlqReplayState[]
): Promise<DlqReplayRow> {
  let row: DlqReplayRow | undefined;
  await until(
    `replay ${id} is ${states.join(' or ')}`,
    async () => {
      row = await findDlqReplay(lab.db.q, id);
      return row !== undefined && states.includes(row.state);
    },
    { state: () => row },
  );
  return row as DlqReplayRow;
}
