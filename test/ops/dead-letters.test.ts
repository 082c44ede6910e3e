/** The admin's desk of dead letters, replays and the event log: every answer by status. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logEvent, rememberEvent } from '../../db/ops/event.store.ts';
import { field, startTimeoutMs, type ApiAnswer, type RequestOptions } from '../harness/api.ts';
import { startLab, subjectOf, type Lab } from '../harness/lab.ts';
import {
  arriveAgain,
  asAdmin,
  letterRow,
  lettersOf,
  orderSurely,
  plantLetters,
  resentOn,
  untilReplay,
} from './letters.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: [] });
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

const admin = (method: string, at: string, options: RequestOptions = {}) => asAdmin(lab, method, at, options);
const items = <T = Record<string, unknown>>(answer: ApiAnswer): T[] => field(answer, 'items') as T[];
const reason = 'the cause is mended';
const one = async (subject: string) => (await plantLetters(lab.db, subject, 1))[0] ?? '';
const auditOf = async (targetId: string) =>
  items(await admin('GET', `audit-logs?target_id=${targetId}`)).map(
    ({ action, result, target_type, actor_user_id }) => ({ action, result, target_type, actor_user_id }),
  );
const byAdmin = (action: string, result = 'succeeded') => ({
  action,
  result,
  target_type: action.split('.')[0],
  actor_user_id: subjectOf('dev-admin'),
});

describe('the list of dead letters', () => {
  it('200: newest first, by state, subject, consumer and reason, page by page', async () => {
    const subject = 'trial.listed';
    const ids = await plantLetters(lab.db, subject, 5);
    await plantLetters(lab.db, subject, 1, { reason: 'rejected' });
    const list = (query: string) => admin('GET', `dead-letters?subject=${subject}&${query}`);
    const first = await list('reason=exhausted&limit=3');
    const second = await list(`reason=exhausted&limit=3&cursor=${String(field(first, 'next_cursor'))}`);
    expect([...items(first), ...items(second)].map((item) => item['id'])).toEqual(ids.toReversed());
    expect(field(second, 'next_cursor')).toBeNull();
    expect(items(await list('reason=rejected'))).toHaveLength(1);
    expect(items(await list('state=discarded'))).toEqual([]);
    expect(items(await list('consumer=billing--trial-listed'))).toHaveLength(6);
    expect(items(await list('consumer=event-log--trial-listed'))).toEqual([]);
  });

  it.each(['state=lost', 'reason=none', 'limit=0', 'cursor=x', 'unknown=1'])('400: %s', async (query) => {
    const answer = await admin('GET', `dead-letters?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
  });
});

describe('one dead letter', () => {
  it('200: with headers and history, its message without secrets', async () => {
    const id = await one('trial.inspected');
    await arriveAgain(lab.db, id);
    const { body } = await admin('GET', `dead-letters/${id}`);
    expect(body).toMatchObject({
      id,
      state: 'open',
      resolved: false,
      consumer: 'billing--trial-inspected',
      arrivals: 2,
      headers: { 'Gpuaas-Dlq-Reason': 'exhausted', 'Gpuaas-Dlq-Group': 'billing' },
      history: [{ reason: 'exhausted' }, { reason: 'exhausted' }],
      body: { payload: { access_token: '[REDACTED]', note: 'seen' } },
    });
    expect(JSON.stringify(body)).not.toContain('hidden');
  });

  it.each([
    ['no JSON', Buffer.from([0xff, 0x00, 0x41])],
    ['no object', Buffer.from('["a"]')],
  ])('200: what is %s is only counted', async (_what, body) => {
    const [id] = await plantLetters(lab.db, 'trial.raw', 1, {
      body,
      eventId: null,
      messageKey: randomUUID(),
    });
    const found = await admin('GET', `dead-letters/${id}`);
    expect(found).toMatchObject({ status: 200, body: { body: null, body_bytes: body.byteLength } });
  });

  it('200: one that recovery had sent again has no number of a replay; one that was replayed has', async () => {
    const [id = ''] = await plantLetters(lab.db, 'trial.numbered', 1, { stream: 'REPLAYS' });
    const numbered = async () =>
      Object.entries(field(await admin('GET', `dead-letters/${id}`), 'headers') ?? {}).filter(
        ([name]) => name === 'Gpuaas-Replay',
      );
    expect(await numbered()).toEqual([]);
    const made = await admin('POST', `dead-letters/${id}/replay`, { body: { reason } });
    await untilReplay(lab, String(field(made, 'id')), 'completed');
    expect(await numbered()).toEqual([['Gpuaas-Replay', '1']]);
  });

  it('404', async () => {
    const answer = await admin('GET', `dead-letters/${randomUUID()}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'dead_letter_not_found' } });
  });
});

describe('discarding', () => {
  it('200: once, audited with its reason; the repeat hears the same; then 409 for all else', async () => {
    const id = await one('trial.discarded');
    const options = { body: { reason: 'of no use' }, key: randomUUID() };
    const done = await admin('POST', `dead-letters/${id}/discard`, options);
    expect(done).toMatchObject({ status: 200, body: { state: 'discarded', discard_reason: 'of no use' } });
    expect((await admin('POST', `dead-letters/${id}/discard`, options)).body).toEqual(done.body);
    expect(await auditOf(id)).toEqual([byAdmin('dead_letter.discard')]);
    const refused = { status: 409, body: { code: 'dead_letter_not_open' } };
    expect(await admin('POST', `dead-letters/${id}/discard`, { body: { reason } })).toMatchObject(refused);
    expect(await admin('POST', `dead-letters/${id}/replay`, { body: { reason } })).toMatchObject(refused);
    await arriveAgain(lab.db, id);
    expect(await letterRow(lab.db, id)).toMatchObject({ state: 'open', discardReason: null, arrivals: 2 });
  });

  it('404, 400, and 409 for a key of another letter', async () => {
    const [a, b] = await plantLetters(lab.db, 'trial.keyed', 2);
    const key = randomUUID();
    expect((await admin('POST', `dead-letters/${a}/discard`, { body: { reason }, key })).status).toBe(200);
    expect(await admin('POST', `dead-letters/${b}/discard`, { body: { reason }, key })).toMatchObject({
      status: 409,
      body: { code: 'idempotency_key_reused' },
    });
    expect((await admin('POST', `dead-letters/${b}/discard`, { body: {} })).status).toBe(400);
    expect((await admin('POST', `dead-letters/${randomUUID()}/discard`, { body: { reason } })).status).toBe(
      404,
    );
  });
});

describe('replaying one', () => {
  it('201: sends it once to its group, byte for byte, with its number; audited; the repeat starts nothing', async () => {
    const subject = 'trial.replayed';
    const id = await one(subject);
    const before = await letterRow(lab.db, id);
    const options = { body: { reason }, key: randomUUID() };
    const made = await admin('POST', `dead-letters/${id}/replay`, options);
    expect(made).toMatchObject({ status: 201, body: { filter: { dead_letter_id: id }, matched: 1 } });
    const replayId = String(field(made, 'id'));
    expect(made.headers.get('location')).toBe(`/api/v1/admin/dlq-replays/${replayId}`);
    expect(await untilReplay(lab, replayId, 'completed')).toMatchObject({ replayed: 1, skipped: 0 });
    expect((await admin('POST', `dead-letters/${id}/replay`, options)).body).toEqual(made.body);
    expect(await resentOn(lab.nc, subject)).toEqual([
      {
        messageId: `${before.messageKey}/replay-1`,
        attempt: '1',
        correlationId: before.correlationId,
        traceparent: '',
        body: before.body.toString(),
      },
    ]);
    expect(await letterRow(lab.db, id)).toMatchObject({ state: 'replayed', replays: 1 });
    expect(await auditOf(id)).toEqual([byAdmin('dead_letter.replay')]);
  });

  it('201 again while it shows no effect, under the next number; 409 once its consumer has the effect', async () => {
    const subject = 'trial.again';
    const id = await one(subject);
    for (const attempt of [1, 2]) {
      const made = await admin('POST', `dead-letters/${id}/replay`, { body: { reason } });
      await untilReplay(lab, String(field(made, 'id')), 'completed');
      expect((await resentOn(lab.nc, subject)).map((message) => message.attempt)).toHaveLength(attempt);
    }
    const { consumer, eventId } = await letterRow(lab.db, id);
    await rememberEvent(lab.db.q, 'somebody-else', eventId ?? '');
    await rememberEvent(lab.db.q, consumer, randomUUID());
    const list = () => admin('GET', `dead-letters?subject=${subject}`);
    const standing = (isResolved: boolean) => ({ resolved: isResolved, replays: 2 });
    expect(await admin('GET', `dead-letters/${id}`)).toMatchObject({ body: standing(false) });
    expect(items(await list())).toMatchObject([standing(false)]);
    await rememberEvent(lab.db.q, consumer, eventId ?? '');
    expect(await admin('GET', `dead-letters/${id}`)).toMatchObject({ body: standing(true) });
    expect(items(await list())).toMatchObject([standing(true)]);
    for (const verb of ['replay', 'discard'] as const) {
      expect(await admin('POST', `dead-letters/${id}/${verb}`, { body: { reason } })).toMatchObject({
        status: 409,
        body: { code: 'dead_letter_not_open' },
      });
    }
  });

  it('leaves a letter that names no event to be discarded: nobody would ever see its effect', async () => {
    const [id = ''] = await plantLetters(lab.db, 'trial.nameless', 1, { eventId: null });
    const made = await admin('POST', `dead-letters/${id}/replay`, { body: { reason } });
    await untilReplay(lab, String(field(made, 'id')), 'completed');
    expect(await letterRow(lab.db, id)).toMatchObject({ state: 'replayed', replays: 1 });
    expect(await admin('POST', `dead-letters/${id}/discard`, { body: { reason } })).toMatchObject({
      status: 200,
      body: { state: 'discarded', resolved: false },
    });
    // Its replay fails after all.
    await arriveAgain(lab.db, id);
    expect(await letterRow(lab.db, id)).toMatchObject({ state: 'open', discardReason: null });
  });

  it('409 for a stranger, 404 for nobody, 400 without a reason', async () => {
    const [id] = await plantLetters(lab.db, 'trial.strange', 1, {
      consumer: 'unknown',
      consumerGroup: 'unknown',
    });
    expect(await admin('POST', `dead-letters/${id}/replay`, { body: { reason } })).toMatchObject({
      status: 409,
      body: { code: 'dead_letter_not_replayable' },
    });
    const nobody = await admin('POST', `dead-letters/${randomUUID()}/replay`, { body: { reason } });
    expect(nobody).toMatchObject({ status: 404, body: { code: 'dead_letter_not_found' } });
    expect((await admin('POST', `dead-letters/${id}/replay`, { body: {} })).status).toBe(400);
  });
});

describe('replaying many', () => {
  it('201: all that a filter meets, in order, page after page; what was discarded or arrives later is left', async () => {
    const subject = 'trial.many';
    const ids = await plantLetters(lab.db, subject, 103);
    await admin('POST', `dead-letters/${ids[5]}/discard`, { body: { reason } });
    const replayId = await orderSurely(lab, subject);
    const [late] = await plantLetters(lab.db, subject, 1);
    const done = await untilReplay(lab, replayId, 'completed');
    expect(done).toMatchObject({ matched: 102, replayed: 102, skipped: 0 });
    const letters = await lettersOf(lab.db, subject);
    const wanted = letters.filter((letter) => letter.id !== ids[5] && letter.id !== late);
    const sent = await resentOn(lab.nc, subject);
    expect(sent.map((message) => message.messageId)).toEqual(
      wanted.map((one) => `${one.messageKey}/replay-1`),
    );
    expect(letters.filter((letter) => letter.state === 'open').map((letter) => letter.id)).toEqual([late]);
    const seen = await admin('GET', `dlq-replays/${replayId}`);
    expect(seen).toMatchObject({
      status: 200,
      body: { state: 'completed', replayed: 102, waiting_on: null },
    });
    expect(await auditOf(replayId)).toEqual([byAdmin('dlq_replay.create')]);
    const found = items(await admin('GET', 'dlq-replays?state=completed&limit=1'));
    expect(found).toMatchObject([{ id: replayId }]);
  });

  it('201: those that were sent and show no effect, when asked for by state', async () => {
    const subject = 'trial.lost';
    const ids = await plantLetters(lab.db, subject, 3);
    await untilReplay(lab, await orderSurely(lab, subject), 'completed');
    const { consumer, eventId } = await letterRow(lab.db, ids[1] ?? '');
    await rememberEvent(lab.db.q, consumer, eventId ?? '');
    const body = { filter: { subject, state: 'replayed' }, reason };
    const made = await admin('POST', 'dlq-replays', { body });
    const done = await untilReplay(lab, String(field(made, 'id')), 'completed');
    expect(done).toMatchObject({ matched: 2, replayed: 2, skipped: 0 });
    const letters = await lettersOf(lab.db, subject);
    expect(letters.map(({ state, replays }) => `${state} ${replays}`)).toEqual([
      'replayed 2',
      'replayed 1',
      'replayed 2',
    ]);
    expect((await resentOn(lab.nc, subject)).map((message) => message.attempt)).toEqual([
      ...['1', '1', '1'],
      ...['2', '2'],
    ]);
  });

  it('201: a dry run counts, sends nothing and has ended when it answers', async () => {
    const subject = 'trial.dry';
    await plantLetters(lab.db, subject, 3);
    await plantLetters(lab.db, subject, 2, { reason: 'rejected', lastAt: new Date('2026-01-05T00:00:00Z') });
    const dry = async (filter: object) => {
      const answer = await admin('POST', 'dlq-replays', { body: { filter, dry_run: true, reason } });
      return { status: answer.status, state: field(answer, 'state'), matched: field(answer, 'matched') };
    };
    const ended = { status: 201, state: 'completed' };
    expect(await dry({ subject })).toEqual({ ...ended, matched: 5 });
    expect(await dry({ subject, reason: 'rejected' })).toEqual({ ...ended, matched: 2 });
    expect(await dry({ subject, arrived_before: '2026-01-04T00:00:00Z' })).toEqual({ ...ended, matched: 3 });
    expect(await dry({ subject, consumer: 'nobody' })).toEqual({ ...ended, matched: 0 });
    expect(await resentOn(lab.nc, subject)).toEqual([]);
    expect((await lettersOf(lab.db, subject)).every((letter) => letter.state === 'open')).toBe(true);
  });

  it.each([
    ['no reason', {}],
    ['a foreign filter', { filter: { message: 'x' }, reason }],
    ['a reason that is none', { filter: { reason: 'none' }, reason }],
    ['an instant that is none', { filter: { arrived_before: 'today' }, reason }],
  ])('400: %s', async (_what, body) => {
    expect((await admin('POST', 'dlq-replays', { body })).status).toBe(400);
  });

  it('409 for a key of another filter', async () => {
    const key = randomUUID();
    const ask = (subject: string) =>
      admin('POST', 'dlq-replays', { body: { filter: { subject }, reason }, key });
    expect((await ask('trial.a')).status).toBe(201);
    expect(await ask('trial.b')).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
  });

  it('404: one that is not there, also to cancel; 409: one that has ended, audited as refused', async () => {
    const unknown = { status: 404, body: { code: 'dlq_replay_not_found' } };
    expect(await admin('GET', `dlq-replays/${randomUUID()}`)).toMatchObject(unknown);
    expect(await admin('POST', `dlq-replays/${randomUUID()}/cancel`, { body: { reason } })).toMatchObject(
      unknown,
    );
    const id = await orderSurely(lab, 'trial.ended');
    await untilReplay(lab, id, 'completed');
    expect(await admin('POST', `dlq-replays/${id}/cancel`, { body: { reason } })).toMatchObject({
      status: 409,
      body: { code: 'dlq_replay_not_running' },
    });
    expect(await auditOf(id)).toEqual(
      expect.arrayContaining([byAdmin('dlq_replay.create'), byAdmin('dlq_replay.cancel', 'refused')]),
    );
  });

  it('is told by its operation where it is', async () => {
    const id = await orderSurely(lab, 'trial.operation');
    const found = await lab.db.q.execute<{ id: string }>(
      sql`select id from operations where entity_id = ${id}::uuid`,
    );
    const operation = await lab.request('GET', `/api/v1/operations/${found.rows[0]?.id}`, {
      as: 'dev-admin',
    });
    expect(operation.body).toMatchObject({
      kind: 'dlq_replay.create',
      state: 'accepted',
      entity_url: `/api/v1/admin/dlq-replays/${id}`,
    });
  });
});

describe('the event log', () => {
  it('200: newest first, by subject, correlation and time, page by page, without secrets', async () => {
    const correlationId = `log-${randomUUID()}`;
    for (let n = 0; n < 3; n += 1) {
      await logEvent(lab.db.q, 'trial-log', {
        eventId: randomUUID(),
        subject: 'gpuaas.provisioning.active',
        version: '1.0',
        correlationId,
        occurredAt: new Date('2026-01-02T03:04:05.678Z'),
        payload: { n, client_secret: 'hidden' },
        stream: 'PROVISIONING',
        streamSeq: n + 1,
      });
    }
    const list = (query: string) => admin('GET', `events?correlation_id=${correlationId}&${query}`);
    const first = await list('limit=2');
    const second = await list(`limit=2&cursor=${String(field(first, 'next_cursor'))}`);
    const found = [...items<{ payload: object }>(first), ...items<{ payload: object }>(second)];
    expect(found.map((event) => event.payload)).toEqual(
      [2, 1, 0].map((n) => ({ n, client_secret: '[REDACTED]' })),
    );
    expect(items(await list('subject=gpuaas.provisioning.active'))).toHaveLength(3);
    expect(items(await list('subject=gpuaas.provisioning.failed'))).toEqual([]);
    expect(items(await list('from=2001-01-01T00:00:00Z&to=2002-01-01T00:00:00Z'))).toEqual([]);
    expect(items(await list('from=0000-01-01T00:00:00Z'))).toHaveLength(3);
    expect((await list('from=yesterday')).status).toBe(400);
  });
});

describe('callers', () => {
  const id = randomUUID();
  const paths = [
    ['GET', 'dead-letters'],
    ['GET', `dead-letters/${id}`],
    ['POST', `dead-letters/${id}/replay`],
    ['POST', `dead-letters/${id}/discard`],
    ['POST', 'dlq-replays'],
    ['GET', 'dlq-replays'],
    ['GET', `dlq-replays/${id}`],
    ['POST', `dlq-replays/${id}/cancel`],
    ['GET', 'events'],
  ] as const;

  it.each(paths)('401 and 403: %s %s', async (method, at) => {
    const body = method === 'POST' ? { body: { reason } } : {};
    expect((await lab.request(method, `/api/v1/admin/${at}`, body)).status).toBe(401);
    const user = await lab.request(method, `/api/v1/admin/${at}`, { as: 'dev-user', ...body });
    expect(user).toMatchObject({ status: 403, body: { code: 'admin_required' } });
  });
});
