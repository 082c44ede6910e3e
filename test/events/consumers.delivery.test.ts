import { randomUUID } from 'node:crypto';
import { headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dlqSubject } from '../../contracts/envelope.ts';
import { CodedError } from '../../contracts/errors.ts';
import { deadLetterHeaders, type DeadLetterReason } from '../../contracts/ops/dead-letter.ts';
import { consumerName } from '../../contracts/streams.ts';
import { heldConnections } from '../../db/client.ts';
import { command, RejectedEvent, type Subscription } from '../../workers/consumers/subscription.ts';
import { auditEffects } from '../harness/event-auditor.ts';
import {
  prepareTrials,
  effectsOf,
  lettersOn,
  recording,
  rowsOn,
  sendRaw,
  sendTrials,
  startingConsumers,
  trialChannel,
  trialMessage,
  untilSettled,
} from './consuming.ts';
import { openWorld, until, type World } from './fixture.ts';

let world: World;
const start = startingConsumers(() => world);

beforeAll(async () => {
  // A window so short that it never does the consumers' work.
  world = await openWorld('events-delivery', 100);
  await prepareTrials(world);
}, 120_000);
afterAll(() => world.close());

const billing = (subject: string): string => consumerName('billing', subject);
const owedOf = (consumer: string, ids: readonly string[]) => ids.map((eventId) => ({ consumer, eventId }));

describe('an effect', () => {
  it('happens once for every event, in each group that subscribes, however often it is delivered', async () => {
    const of = trialChannel('twice');
    await start([recording('billing', of), recording('account', of)]);
    const ids = await sendTrials(world, of, 20);
    const bodies = ids.map((id, n) => JSON.stringify(trialMessage(of, n, id)));
    for (const body of [...bodies, ...bodies.toReversed()]) await sendRaw(world, of.subject, body);
    for (const group of ['billing', 'account']) {
      await untilSettled(world, 'TRIAL', consumerName(group, of.subject));
    }
    const consumers = ['billing', 'account'].map((group) => consumerName(group, of.subject));
    const found = await effectsOf(world.db, ...consumers);
    expect(found).toHaveLength(40);
    expect(
      auditEffects(
        consumers.flatMap((one) => owedOf(one, ids)),
        found,
      ),
    ).toEqual([]);
  });

  it('happens once when two processes share the durable', async () => {
    const of = trialChannel('shared');
    await start([recording('billing', of)], { slots: 2 });
    await start([recording('billing', of)], { slots: 2 });
    const ids = await sendTrials(world, of, 60);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    expect(
      auditEffects(owedOf(billing(of.subject), ids), await effectsOf(world.db, billing(of.subject))),
    ).toEqual([]);
  });

  it('that failed leaves nothing behind and is tried again, once per delivery, until it works', async () => {
    const of = trialChannel('again', { ackWaitSeconds: 5, maxDeliver: 6 });
    const seen: number[] = [];
    const flaky = recording('billing', of, async ({ delivery, tx, eventId, n }) => {
      seen.push(delivery);
      if (delivery < 4) {
        await tx.execute(`insert into trial_effects values ('left behind', '${eventId}', ${n})`);
        throw new Error('not today');
      }
    });
    const { runtime } = await start([flaky]);
    const ids = await sendTrials(world, of, 1);
    await until('the effect', async () => (await effectsOf(world.db, billing(of.subject))).length > 0);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(await effectsOf(world.db, 'left behind')).toEqual([]);
    expect(
      auditEffects(owedOf(billing(of.subject), ids), await effectsOf(world.db, billing(of.subject))),
    ).toEqual([]);
    const text = await runtime.metrics.registry.metrics();
    expect(text).toContain(
      `gpuaas_consumer_deliveries_total{consumer="${billing(of.subject)}",outcome="failed"} 3`,
    );
    expect(text).toContain(`gpuaas_consumer_redeliveries_total{consumer="${billing(of.subject)}"} 3`);
  });

  it('that fails does not hold up the events behind it', async () => {
    const of = trialChannel('stuck', { ackWaitSeconds: 5, maxDeliver: 3 });
    await start(
      [
        recording('billing', of, ({ n }) => {
          if (n === 0) throw new Error('never');
        }),
      ],
      { slots: 1 },
    );
    const ids = await sendTrials(world, of, 10);
    await rowsOn(world, of.subject, 1);
    const dead = owedOf(billing(of.subject), ids.slice(0, 1));
    const found = async () => effectsOf(world.db, billing(of.subject));
    await until('the others', async () => (await found()).length === 9);
    expect(auditEffects(owedOf(billing(of.subject), ids), await found(), dead)).toEqual([]);
  });

  it('that takes longer than ack_wait is reported as in progress and delivered once', async () => {
    const of = trialChannel('long', { ackWaitSeconds: 0.4, maxDeliver: 2 });
    let finish: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    const deliveries: number[] = [];
    await start([
      recording('billing', of, async ({ delivery }) => {
        deliveries.push(delivery);
        await held;
      }),
    ]);
    const ids = await sendTrials(world, of, 1);
    await until('it is in hand', () => deliveries.length > 0);
    // Four times ack_wait, told by JetStream's own clock: another durable's messages that it gave up on meanwhile.
    const other = trialChannel('clock', { ackWaitSeconds: 0.4, maxDeliver: 4 });
    const jsm = await world.nc.jetstreamManager();
    await jsm.consumers.add('TRIAL', {
      durable_name: 'clock',
      ack_policy: 'explicit' as never,
      filter_subject: other.subject,
      ack_wait: 400_000_000,
      max_deliver: 4,
    });
    await sendTrials(world, other, 1);
    const clock = await world.nc.jetstream().consumers.get('TRIAL', 'clock');
    for (let turn = 1; turn <= 4; turn += 1) {
      const message = await clock.next({ expires: 10_000 });
      expect(message?.info.deliveryCount).toBe(turn);
    }
    finish();
    await untilSettled(world, 'TRIAL', billing(of.subject));
    expect(deliveries).toEqual([1]);
    expect(
      auditEffects(owedOf(billing(of.subject), ids), await effectsOf(world.db, billing(of.subject))),
    ).toEqual([]);
    await jsm.consumers.delete('TRIAL', 'clock');
  });

  it('counts also when the work after its commit fails', async () => {
    const of = trialChannel('after');
    await start([
      recording('billing', of, undefined, () => {
        throw new Error('too late to matter');
      }),
    ]);
    const ids = await sendTrials(world, of, 1);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    expect(
      auditEffects(owedOf(billing(of.subject), ids), await effectsOf(world.db, billing(of.subject))),
    ).toEqual([]);
  });
});

describe('a command', () => {
  it('is sent once and again only when sending failed', async () => {
    const of = trialChannel('command');
    const sent: string[] = [];
    const order: Subscription = command('provisioning', of, ({ event, delivery }) => {
      if (event.payload.n === 1 && delivery === 1) throw new Error('not today');
      sent.push(event.event_id);
      return Promise.resolve();
    });
    await start([order]);
    const ids = await sendTrials(world, of, 3);
    await untilSettled(world, 'TRIAL', consumerName('provisioning', of.subject));
    for (const [n, id] of ids.entries())
      await sendRaw(world, of.subject, JSON.stringify(trialMessage(of, n, id)));
    await untilSettled(world, 'TRIAL', consumerName('provisioning', of.subject));
    expect(sent.sort()).toEqual([...ids].sort());
  });
});

describe('a database connection', () => {
  it('is held by an effect alone: not by a command, not by what follows a commit, not by a burial', async () => {
    const of = trialChannel('held', { ackWaitSeconds: 5, maxDeliver: 1 });
    const held: string[] = [];
    const note = (where: string) => void held.push(`${where} ${heldConnections()}`);
    const { log } = await start([
      recording(
        'billing',
        of,
        () => note('effect'),
        () => note('after the commit'),
      ),
      command('provisioning', of, () => {
        note('command');
        return Promise.resolve();
      }),
      recording('account', of, () => {
        throw new RejectedEvent('invalid_request', 'Never.');
      }),
    ]);
    await sendTrials(world, of, 1);
    await rowsOn(world, of.subject, 1);
    for (const group of ['billing', 'provisioning', 'account'])
      await untilSettled(world, 'TRIAL', consumerName(group, of.subject));
    expect(held.sort()).toEqual(['after the commit 0', 'command 0', 'effect 1']);
    expect(log.filter((line) => line.includes('a database connection is held'))).toEqual([]);
  });
});

describe('a message that cannot be read', () => {
  const of = trialChannel('poison');
  const good = trialMessage(of, 1);
  const rows: readonly [what: string, body: string, reason: DeadLetterReason][] = [
    ['no JSON', '{"event_id":', 'not_json'],
    ['an empty body', '', 'not_json'],
    ['a JSON value that is no object', '7', 'schema_violation'],
    ['another type', JSON.stringify({ ...good, event_type: 'trial.other' }), 'unknown_type'],
    ['another major version', JSON.stringify({ ...good, version: '2.0' }), 'unsupported_version'],
    ['no version', JSON.stringify({ ...good, version: 'newest' }), 'unsupported_version'],
    [
      'a stranger in the payload',
      JSON.stringify({ ...good, payload: { n: 1, secret: 'x' } }),
      'schema_violation',
    ],
    ['a stranger in the envelope', JSON.stringify({ ...good, more: 1 }), 'schema_violation'],
    ['a missing field', JSON.stringify({ ...good, payload: {} }), 'schema_violation'],
    ['a wrong type', JSON.stringify({ ...good, payload: { n: 'one' } }), 'schema_violation'],
    ['no event id', JSON.stringify({ ...good, event_id: 'none' }), 'schema_violation'],
  ];

  it.each(rows)('is dead at its first delivery: %s', async (_what, body, reason) => {
    const name = `poison_${randomUUID().slice(0, 8)}`;
    const own = trialChannel(name);
    const sent = body.replaceAll(of.subject, own.subject);
    await start([recording('billing', own)]);
    const seq = await sendRaw(world, own.subject, sent);
    const [row] = await rowsOn(world, own.subject, 1);
    await untilSettled(world, 'TRIAL', billing(own.subject));
    expect(row).toMatchObject({ reason, errorCode: reason, deliveries: 1, state: 'open', streamSeq: seq });
    expect(row?.body.toString()).toBe(sent);
    expect(row?.detail).not.toContain('secret_value');
    expect(await effectsOf(world.db, billing(own.subject))).toEqual([]);
    expect(await lettersOn(world, own.subject)).toHaveLength(1);
  });

  it('does not keep a newer minor from being read', async () => {
    const own = trialChannel('minor');
    await start([recording('billing', own)]);
    const newer = { ...trialMessage(own, 1), version: '1.7', payload: { n: 1, added: 'later' } };
    await sendRaw(world, own.subject, JSON.stringify(newer));
    await until('the effect', async () => (await effectsOf(world.db, billing(own.subject))).length === 1);
    expect(await lettersOn(world, own.subject)).toEqual([]);
  });
});

describe('a dead letter', () => {
  const failures: readonly [what: string, error: Error, reason: string, code: string, deliveries: number][] =
    [
      [
        'no repetition can help',
        new RejectedEvent('allocation_not_found', 'It is not there.'),
        'rejected',
        'allocation_not_found',
        1,
      ],
      ['every delivery failed', new TypeError('with a secret'), 'exhausted', 'internal_error', 4],
      ['it failed with a code', new CodedError('sku_unavailable'), 'exhausted', 'sku_unavailable', 4],
    ];

  it.each(failures)('says in its headers that %s', async (_what, error, reason, code, deliveries) => {
    const of = trialChannel(`letter_${randomUUID().slice(0, 8)}`);
    const { alerts } = await start([
      recording('billing', of, () => {
        throw error;
      }),
    ]);
    const sent = trialMessage(of, 1);
    const extra = headers();
    extra.set('Correlation-Id', sent.correlation_id);
    extra.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    const before = Date.now();
    const seq = await sendRaw(world, of.subject, JSON.stringify(sent), sent.event_id, extra);
    const [row] = await rowsOn(world, of.subject, 1);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    const [letter, ...others] = await lettersOn(world, of.subject);
    expect(others).toEqual([]);
    const header = (name: string) => letter?.headers?.get(name);
    expect(
      Object.fromEntries(Object.entries(deadLetterHeaders).map(([key, name]) => [key, header(name)])),
    ).toEqual({
      reason,
      errorCode: code,
      detail: reason === 'rejected' ? 'It is not there.' : error.name,
      consumer: billing(of.subject),
      group: 'billing',
      subject: of.subject,
      stream: 'TRIAL',
      streamSeq: String(seq),
      deliveries: String(deliveries),
      firstAt: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      lastAt: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      wholeBytes: '',
    });
    const instantOf = (key: 'firstAt' | 'lastAt') => Date.parse(header(deadLetterHeaders[key]) ?? '');
    expect(instantOf('firstAt')).toBeGreaterThanOrEqual(before - 1000);
    expect(instantOf('lastAt')).toBeGreaterThanOrEqual(instantOf('firstAt'));
    expect(instantOf('lastAt')).toBeLessThanOrEqual(Date.now() + 1000);
    expect(header('Nats-Msg-Id')).toBe(`${sent.event_id}/${billing(of.subject)}`);
    expect(header('Correlation-Id')).toBe(sent.correlation_id);
    expect(header('traceparent')).toContain('0af7651916cd43dd8448eb211c80319c');
    expect(letter?.subject).toBe(dlqSubject(of.subject));
    expect(letter?.string()).toBe(JSON.stringify(sent));
    expect(row).toMatchObject({
      consumer: billing(of.subject),
      messageKey: sent.event_id,
      eventId: sent.event_id,
      correlationId: sent.correlation_id,
      reason,
      errorCode: code,
      deliveries,
      arrivals: 1,
      state: 'open',
    });
    await until('operators are told', () => alerts.some((one) => one.message.includes(row?.id ?? '?')));
    expect(JSON.stringify(alerts)).not.toContain('secret');
  });

  it('that cannot be stored at the last delivery stays in hand until it can, and keeps its reason', async () => {
    const of = trialChannel('no_dlq', { ackWaitSeconds: 0.4, maxDeliver: 1 });
    // With the pauses between them longer than `ack_wait`.
    let refusals = 60;
    await start(
      [
        recording('billing', of, () => {
          throw new RejectedEvent('invalid_request', 'Never.');
        }),
      ],
      {
        around: (nc) => {
          const made = nc.jetstream.bind(nc);
          nc.jetstream = (options) => {
            const js = made(options);
            const publish = js.publish.bind(js);
            js.publish = async (subject, data, given) => {
              if (subject.startsWith('dlq.') && refusals-- > 0) throw new Error('the stream is away');
              return publish(subject, data, given);
            };
            return js;
          };
        },
      },
    );
    const ids = await sendTrials(world, of, 1);
    const [row] = await rowsOn(world, of.subject, 1);
    await untilSettled(world, 'TRIAL', billing(of.subject));
    const kept = { reason: 'rejected', errorCode: 'invalid_request', deliveries: 1, arrivals: 1 };
    expect(row).toMatchObject({ messageKey: ids[0], ...kept });
    expect(await lettersOn(world, of.subject)).toHaveLength(1);
  });

  it('of a stranger is written down as what it is', async () => {
    await start([recording('billing', trialChannel('bystander'))]);
    await sendRaw(world, 'dlq.trial.by_hand', 'anything');
    const [row] = await rowsOn(world, 'trial.by_hand', 1);
    expect(row).toMatchObject({
      consumer: 'unknown',
      reason: 'rejected',
      errorCode: 'foreign_message',
      stream: 'DLQ',
    });
  });
});
