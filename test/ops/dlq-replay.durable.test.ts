/** A replay through what may happen to it: outages, lost processes and runs, cancellation, many pages, other operators. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headers } from 'nats';
import { asId, dlqReplayWorkflowId } from '../../contracts/ids.ts';
import { adminCancelDlqReplay, adminCreateDlqReplay } from '../../contracts/ops/dlq-replay.api.ts';
import { dlqPageLetters } from '../../contracts/ops/dlq-replay.messages.ts';
import { deadLetterHeaders } from '../../contracts/ops/dead-letter.ts';
import { replaySubject } from '../../contracts/streams.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { findOperation, openOperation } from '../../db/ops/operation.store.ts';
import { deadLetters } from '../../db/schema.ts';
import { startMissingReplays } from '../../workers/reconcilers/missing-replays.ts';
import { eq } from 'drizzle-orm';
import { pino } from 'pino';
import { field, startTimeoutMs } from '../harness/api.ts';
import { startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { cancelSurely, lives, untilCommanded } from './lives.ts';
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
import { assertReplays, auditReplay } from './replay-audit.ts';

/** The engine suggests to continue as new after so many events. */
const suggestAfterEvents = { 'limit.historyCount.suggestContinueAsNew': 12 };

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: [], dynamicConfig: suggestAfterEvents });
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

const replayIdOf = (key: string): string =>
  uuid5('dlq-replay', subjectOf('dev-admin'), adminCreateDlqReplay.id, key);
const runOf = (replayId: string) => lab.temporal.workflow.getHandle(dlqReplayWorkflowId(asId(replayId)));

/** Until the test's own connection is there again. */
async function natsIsBack(): Promise<void> {
  await lab.api.stack.parts.nats.start();
  await until('JetStream answers', () =>
    lab.nc.jetstreamManager().then(
      () => true,
      () => false,
    ),
  );
}

describe('a replay', () => {
  it('of several pages continues as new between two of them', async () => {
    const subject = 'trial.pages';
    await plantLetters(lab.db, subject, 2 * dlqPageLetters + 1);
    const replayId = await orderSurely(lab, subject);
    await untilReplay(lab, replayId, 'completed');
    await assertReplays(lab, [{ replayId, subject, state: 'completed' }]);
    const runs = [];
    const query = `WorkflowId = '${dlqReplayWorkflowId(asId(replayId))}'`;
    for await (const run of lab.temporal.workflow.list({ query })) runs.push(run.status.name);
    expect(runs).toContain('CONTINUED_AS_NEW');
  });

  it('waits for JetStream, says so, and goes on by itself', async () => {
    const subject = 'trial.nats_away';
    await plantLetters(lab.db, subject, 3);
    const nats = lab.api.stack.parts.nats;
    await nats.stop();
    const replayId = await orderSurely(lab, subject);
    await until('an attempt has failed', async () => {
      const { raw } = await runOf(replayId).describe();
      const message = raw.pendingActivities?.[0]?.lastFailure?.message;
      return message === 'JetStream does not take the letter';
    });
    const seen = await asAdmin(lab, 'GET', `dlq-replays/${replayId}`);
    expect(seen.body).toMatchObject({ state: 'running', waiting_on: 'JetStream to take the letters' });
    await natsIsBack();
    await untilReplay(lab, replayId, 'completed');
    await assertReplays(lab, [{ replayId, subject, state: 'completed' }]);
  });

  it('can be cancelled while JetStream is away; what was not sent stays open', async () => {
    const subject = 'trial.cancelled_away';
    await plantLetters(lab.db, subject, 3);
    const nats = lab.api.stack.parts.nats;
    await nats.stop();
    const replayId = await orderSurely(lab, subject);
    const answer = await cancelSurely(lab, replayId);
    expect(answer).toMatchObject({ status: 200, body: { state: 'cancelled', replayed: 0 } });
    await natsIsBack();
    expect((await lettersOf(lab.db, subject)).map((letter) => letter.state)).toEqual([
      'open',
      'open',
      'open',
    ]);
    await assertReplays(lab, [{ replayId, subject, state: 'cancelled' }]);
  });

  it('stops after the present page when it is cancelled, and leaves the other pages open', async () => {
    const subject = 'trial.cancelled_paging';
    const key = randomUUID();
    await plantLetters(lab.db, subject, dlqPageLetters + 5);
    const page = lab.faults.hold(replayIdOf(key), { activity: 'publishDlqPage' });
    const replayId = await orderSurely(lab, subject, key);
    await until('the page is under way', () => page.rule.struck());
    const answer = cancelSurely(lab, replayId);
    await untilCommanded(lab, replayId);
    page.letGo();
    expect((await answer).status).toBe(200);
    const { replayed } = await untilReplay(lab, replayId, 'cancelled');
    expect(replayed).toBeLessThanOrEqual(dlqPageLetters);
    const audited = await asAdmin(lab, 'GET', `audit-logs?target_id=${replayId}`);
    const by = { actor_user_id: subjectOf('dev-admin'), actor_role: 'admin', result: 'succeeded' };
    expect(field(audited, 'items')).toMatchObject([
      { ...by, action: 'dlq_replay.cancel', details: { reason: 'enough' } },
      { ...by, action: 'dlq_replay.create' },
    ]);
    await assertReplays(lab, [{ replayId, subject, state: 'cancelled' }]);
  });

  it('takes over a cancellation that its lost run has not answered', async () => {
    const subject = 'trial.cancelled_lost';
    const key = randomUUID();
    await plantLetters(lab.db, subject, 3);
    const page = lab.faults.hold(replayIdOf(key), { activity: 'publishDlqPage' });
    const replayId = await orderSurely(lab, subject, key);
    await until('the page is under way', () => page.rule.struck());
    const answer = cancelSurely(lab, replayId);
    await untilCommanded(lab, replayId);
    await runOf(replayId).terminate('lost');
    expect((await answer).status).toBe(200);
    await untilReplay(lab, replayId, 'cancelled');
    page.letGo();
    await page.rule.settled();
    // Its page had been selected; what has ended sends nothing.
    expect(await resentOn(lab.nc, subject)).toEqual([]);
    await assertReplays(lab, [{ replayId, subject, state: 'cancelled' }]);
  });

  it('that has ended refuses a cancellation whose API process died, with one audit row', async () => {
    const subject = 'trial.cancelled_late';
    await plantLetters(lab.db, subject, 1);
    const replayId = await orderSurely(lab, subject);
    await untilReplay(lab, replayId, 'completed');
    const [operationId, key, by] = [randomUUID(), randomUUID(), subjectOf('dev-admin')];
    const command = { operationId, actorUserId: by, correlationId: 'cancelled-late' };
    await openOperation(lab.db.q, {
      id: asId(operationId),
      caller: by,
      route: adminCancelDlqReplay.id,
      key,
      bodyHash: 'h',
      kind: 'dlq_replay.cancel',
      orgId: asId(randomUUID()),
      entityId: replayId,
      request: { ...command, reason: 'enough' },
      correlationId: command.correlationId,
    });
    const parts = { db: lab.db, client: lab.temporal, log: pino({ level: 'silent' }) };
    await Promise.all([startMissingReplays(parts, 0), startMissingReplays(parts, 0)]);
    await startMissingReplays(parts, 0);
    expect(await findOperation(lab.db.q, operationId)).toMatchObject({
      outcome: { kind: 'refused', code: 'dlq_replay_not_running' },
    });
    const audited = await asAdmin(lab, 'GET', `audit-logs?target_id=${replayId}&action=dlq_replay.cancel`);
    expect(field(audited, 'items')).toMatchObject([
      {
        actor_user_id: by,
        actor_role: 'admin',
        result: 'refused',
        correlation_id: command.correlationId,
        details: { code: 'dlq_replay_not_running' },
      },
    ]);
    await assertReplays(lab, [{ replayId, subject, state: 'completed' }]);
  });

  it("ends like a cancelled one when an operator cancels its run in the engine's own console", async () => {
    const subject = 'trial.cancelled_run';
    const key = randomUUID();
    await plantLetters(lab.db, subject, 1);
    const page = lab.faults.hold(replayIdOf(key), { activity: 'publishDlqPage' });
    const replayId = await orderSurely(lab, subject, key);
    await until('the page is under way', () => page.rule.struck());
    await runOf(replayId).cancel();
    page.letGo();
    await untilReplay(lab, replayId, 'cancelled');
    await assertReplays(lab, [{ replayId, subject, state: 'cancelled' }]);
  });

  it('that was asked for by an API process which died before it told the engine is begun all the same', async () => {
    const subject = 'trial.never_told';
    await plantLetters(lab.db, subject, 2);
    const key = randomUUID();
    const ask = () =>
      asAdmin(lab, 'POST', 'dlq-replays', { body: { filter: { subject }, reason: 'lost' }, key });
    await lab.api.stack.parts.temporal.stop();
    expect((await ask()).status).toBe(503);
    await lab.api.stack.parts.temporal.start();
    await untilReplay(lab, replayIdOf(key), 'completed');
    await assertReplays(lab, [{ replayId: replayIdOf(key), subject, state: 'completed' }]);
    expect(await ask()).toMatchObject({ status: 201, body: { id: replayIdOf(key) } });
  });

  it('and another one of the same letters at the same time send each of them once', async () => {
    const subject = 'trial.twins';
    await plantLetters(lab.db, subject, 5);
    const ids = await Promise.all([orderSurely(lab, subject), orderSurely(lab, subject)]);
    await Promise.all(ids.map((id) => untilReplay(lab, id, 'completed')));
    expect(await resentOn(lab.nc, subject)).toHaveLength(5);
    expect((await lettersOf(lab.db, subject)).every((letter) => letter.state === 'replayed')).toBe(true);
  });

  it('leaves a letter alone that was discarded between the selection and its turn', async () => {
    const subject = 'trial.overtaken';
    const key = randomUUID();
    const [first, second] = await plantLetters(lab.db, subject, 2);
    const page = lab.faults.hold(replayIdOf(key), { activity: 'publishDlqPage' });
    const replayId = await orderSurely(lab, subject, key);
    await until('the page is under way', () => page.rule.struck());
    const body = { reason: 'of no use' };
    expect((await asAdmin(lab, 'POST', `dead-letters/${second}/discard`, { body })).status).toBe(200);
    page.letGo();
    expect(await untilReplay(lab, replayId, 'completed')).toMatchObject({ replayed: 1, skipped: 1 });
    expect(await resentOn(lab.nc, subject)).toHaveLength(1);
    expect(await letterRow(lab.db, first ?? '')).toMatchObject({ state: 'replayed' });
    expect(await letterRow(lab.db, second ?? '')).toMatchObject({ state: 'discarded', replays: 0 });
  });

  it('does not close a letter that has come back before it was noted', async () => {
    const subject = 'trial.came_back';
    const key = randomUUID();
    const [id = ''] = await plantLetters(lab.db, subject, 1);
    const page = lab.faults.hold(replayIdOf(key), { activity: 'publishDlqPage' });
    const replayId = await orderSurely(lab, subject, key);
    await until('the page is under way', () => page.rule.struck());
    // As if an attempt that was lost had sent it, and its consumer had given it up again.
    await arriveAgain(lab.db, id);
    page.letGo();
    await untilReplay(lab, replayId, 'completed');
    expect(await resentOn(lab.nc, subject)).toEqual([]);
    expect(await letterRow(lab.db, id)).toMatchObject({ state: 'open', arrivals: 2, replays: 1 });
    await untilReplay(lab, await orderSurely(lab, subject), 'completed');
    expect((await resentOn(lab.nc, subject)).map((message) => message.attempt)).toEqual(['2']);
  });

  it('knows what an attempt has sent that was lost for longer than the duplicate window', async () => {
    const subject = 'trial.sent_long_ago';
    const [id = ''] = await plantLetters(lab.db, subject, 1);
    const { messageKey, body } = await letterRow(lab.db, id);
    // Without JetStream's own id nothing but the name of the message tells that it is there.
    const extra = headers();
    extra.set('Nats-Msg-Id', `${messageKey}/replay-1`);
    const jsm = await lab.nc.jetstreamManager();
    await jsm.streams.update('REPLAYS', { duplicate_window: 100 * 1_000_000 });
    await lab.nc.jetstream().publish(replaySubject('billing', subject), body, { headers: extra });
    await until('JetStream has forgotten the id', async () => {
      const probe = { msgID: `${messageKey}/replay-1` };
      const js = lab.nc.jetstream();
      const { duplicate } = await js.publish(replaySubject('billing', 'trial.probe'), 'x', probe);
      return !duplicate;
    });
    await jsm.streams.update('REPLAYS', { duplicate_window: 120_000 * 1_000_000 });
    const replayId = await orderSurely(lab, subject);
    expect(await untilReplay(lab, replayId, 'completed')).toMatchObject({ replayed: 1 });
    await assertReplays(lab, [{ replayId, subject, state: 'completed' }]);
  });

  it('keeps the trace that the letter came with', async () => {
    const subject = 'trial.traced';
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const [id = ''] = await plantLetters(lab.db, subject, 1);
    const { consumer } = await letterRow(lab.db, id);
    const extra = headers();
    extra.set(deadLetterHeaders.consumer, consumer);
    extra.set('traceparent', traceparent);
    const { seq } = await lab.nc.jetstream().publish(`dlq.${subject}`, 'x', { headers: extra });
    await lab.db.q.update(deadLetters).set({ dlqSeq: seq }).where(eq(deadLetters.id, id));
    await untilReplay(lab, await orderSurely(lab, subject), 'completed');
    expect((await resentOn(lab.nc, subject)).map((message) => message.traceparent)).toEqual([traceparent]);
  });
});

describe('the audit', () => {
  it('sees a letter left open, one sent twice, one not sent, one changed, and wrong counts', async () => {
    const subject = 'trial.audited';
    const { expectation } = await lives.plain(lab, subject, undefined);
    await assertReplays(lab, [expectation]);
    const found = async () => (await auditReplay(lab, expectation)).join('\n');
    const [first, second] = await lettersOf(lab.db, subject);
    const change = (id: string | undefined, to: Partial<typeof deadLetters.$inferInsert>) =>
      lab.db.q
        .update(deadLetters)
        .set(to)
        .where(eq(deadLetters.id, id ?? ''));
    await change(first?.id, { state: 'open' });
    expect(await found()).toMatch(/was left open/);
    await change(first?.id, { state: 'replayed', replays: 2 });
    expect(await found()).toMatch(/was sent 1 times, not 2/);
    await change(first?.id, { replays: 0 });
    expect(await found()).toMatch(
      /was sent 1 times, not 0[\s\S]*counts as replayed[\s\S]*it counts 3 letters, 2/,
    );
    await change(first?.id, { replays: 1, body: Buffer.from('other') });
    expect(await found()).toMatch(/was changed/);
    await change(first?.id, { body: first?.body ?? Buffer.alloc(0) });
    expect(await found()).toBe('');
    const extra = headers();
    extra.set('Nats-Msg-Id', `${second?.messageKey ?? ''}/replay-1-again`);
    await lab.nc
      .jetstream()
      .publish(replaySubject('billing', subject), second?.body ?? '', { headers: extra });
    expect(await found()).toMatch(/was sent 2 times, not 1/);
    expect(await auditReplay(lab, { ...expectation, state: 'cancelled' })).not.toEqual([]);
  });
});
