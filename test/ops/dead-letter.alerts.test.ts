/** However many dead letters come, operators hear of each cause once in a window, and all letters are written down. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import { consumerName } from '../../contracts/streams.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import type { ArrivedLetter } from '../../db/ops/dead-letter.store.ts';
import type { NotificationRow } from '../../db/ops/notification.schema.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { createPolicyReader, setPolicy } from '../../db/ops/policy.store.ts';
import { deadLetterDesk } from '../../workers/consumers/ops/dead-letter.consumer.ts';
import { openWorld, type World } from '../events/fixture.ts';
import { arrivedLetter, enterAlertWindow, lettersOf } from './letters.ts';

/** Letters that a desk has in hand at once, as of one durable. */
const inHand = 16;
const windowSeconds = 600;
const windowKey = 'dead_letter.alert_window_seconds';

interface Desk {
  readonly db: Database;
  /** Work after the commit, by alert: what sockets are told. */
  readonly announced: string[];
  take(letters: readonly ArrivedLetter[]): Promise<void>;
}

let world: World;
const desks: Desk[] = [];

/** A desk as the consumers' process has it, with connections and policies of its own. */
function openDesk(): Desk {
  const db = openDatabase({ url: world.env('DATABASE_URL'), applicationName: 'desk', max: inHand });
  const announced: string[] = [];
  const notifier = createNotifier((channel, message) => {
    announced.push(message);
    return world.redis.publish(channel, message);
  });
  const write = deadLetterDesk({
    db,
    policies: createPolicyReader(db.q),
    alertOperators: (tx, alert) => notifier.alertOperators(tx, alert),
  });
  const desk: Desk = {
    db,
    announced,
    take: async (letters) => {
      for (let at = 0; at < letters.length; at += inHand)
        await Promise.all(letters.slice(at, at + inHand).map(write));
    },
  };
  desks.push(desk);
  return desk;
}

let windowsPassed = 0;
/** A window that no test has seen. */
async function enterWindow(): Promise<void> {
  windowsPassed += 1;
  await enterAlertWindow(world.env('DATABASE_TEST_URL'), windowSeconds, windowsPassed);
}

beforeAll(async () => {
  world = await openWorld('dead-letter-alerts', 120_000);
}, 120_000);
afterEach(async () => {
  await Promise.all(desks.splice(0).map((desk) => desk.db.close()));
});
afterAll(() => world?.close());

const lettersTo = (subject: string, count: number, given: Partial<ArrivedLetter> = {}): ArrivedLetter[] =>
  Array.from({ length: count }, () => arrivedLetter(subject, given));

/** What operators were told of a subject's letters, oldest first. */
const alertsOf = (subject: string): Promise<NotificationRow[]> =>
  world.db.q.query.notifications.findMany({
    where: (t, { and, eq }) => and(eq(t.recipient, operatorsRecipient), eq(t.subject, `dlq.${subject}`)),
    orderBy: (t, { asc }) => asc(t.seq),
  });

const setWindow = (seconds: number): Promise<unknown> =>
  world.db.tx((tx) => setPolicy(tx, windowKey, seconds));

describe('dead letters', () => {
  it('of one consumer, reason and window raise one alert, and all are written down', async () => {
    const subject = 'trial.flood';
    await enterWindow();
    const desk = openDesk();
    await desk.take(lettersTo(subject, 200));
    const rows = await lettersOf(world.db, subject);
    expect(rows.filter(({ state }) => state === 'open')).toHaveLength(200);
    const alerts = await alertsOf(subject);
    expect(alerts).toHaveLength(1);
    expect(desk.announced).toHaveLength(1);
    const [alert] = alerts;
    const consumer = consumerName('billing', subject);
    expect(alert?.message).toContain(
      `GET /api/v1/admin/dead-letters?state=open&consumer=${consumer}&reason=exhausted lists them.`,
    );
    const named = /Dead letter ([0-9a-f-]{36})\./.exec(alert?.message ?? '')?.[1];
    expect(rows.map(({ id }) => id)).toContain(named);
  });

  it('of another reason, of another consumer and of a failed replay raise their own', async () => {
    const subject = 'trial.causes';
    await enterWindow();
    const desk = openDesk();
    const first = lettersTo(subject, 20);
    await desk.take(first);
    await desk.take(lettersTo(subject, 20, { reason: 'rejected' }));
    await desk.take(lettersTo(subject, 20, { consumer: consumerName('account', subject) }));
    // The same messages, given up once more.
    const again = ({ consumer, messageKey, eventId, body }: ArrivedLetter) =>
      arrivedLetter(subject, { consumer, messageKey, eventId, body, lastAt: new Date() });
    await desk.take(first.map(again));
    expect(await lettersOf(world.db, subject)).toHaveLength(60);
    expect(
      (await alertsOf(subject)).map(({ title, message }) => [title, message.split(' Dead ')[0]]),
    ).toEqual([
      ['An event was given up', 'billing--trial-causes gave up trial.causes: exhausted (internal_error).'],
      ['An event was given up', 'billing--trial-causes gave up trial.causes: rejected (internal_error).'],
      ['An event was given up', 'account--trial-causes gave up trial.causes: exhausted (internal_error).'],
      [
        'A replayed event was given up again',
        'billing--trial-causes gave up trial.causes: exhausted (internal_error).',
      ],
    ]);
    expect(desk.announced).toHaveLength(4);
  });

  it('raise one alert each when the window is 0', async () => {
    const subject = 'trial.each';
    await enterWindow();
    await setWindow(0);
    try {
      const letters = lettersTo(subject, 20);
      const desk = openDesk();
      await desk.take(letters);
      // Delivered to the desk once more: nothing is new.
      await desk.take(letters);
      const alerts = await alertsOf(subject);
      expect(alerts).toHaveLength(20);
      expect(new Set(alerts.map(({ message }) => message)).size).toBe(20);
      expect(alerts.filter(({ message }) => message.includes('no alert'))).toEqual([]);
      expect(desk.announced).toHaveLength(20);
    } finally {
      await setWindow(windowSeconds);
    }
  });

  it('at two desks at once raise one', async () => {
    const subject = 'trial.desks';
    await enterWindow();
    const [one, other] = [openDesk(), openDesk()];
    const letters = lettersTo(subject, 100);
    // Half of them come to both, as after a lost acknowledgement.
    await Promise.all([one.take(letters.slice(0, 75)), other.take(letters.slice(25).toReversed())]);
    expect(await lettersOf(world.db, subject)).toHaveLength(100);
    expect(await alertsOf(subject)).toHaveLength(1);
    expect([...one.announced, ...other.announced]).toHaveLength(1);
  });

  it('of which operators know do not wait for other notifications that are being written', async () => {
    const subject = 'trial.waiting';
    await enterWindow();
    const desk = openDesk();
    await desk.take(lettersTo(subject, 1));
    const other = { recipient: operatorsRecipient, eventId: randomUUID(), subject: 'trial.other' };
    const notifier = createNotifier(() => Promise.resolve());
    await world.db.tx(async (tx) => {
      const words = { title: 'A title', message: 'A message.', actionUrl: null, occurredAt: new Date() };
      await notifier.notify(tx, [{ ...other, ...words, severity: 'info', type: 'info' }]);
      // Were they to wait, it would be for the end of this very transaction.
      await desk.take(lettersTo(subject, 20));
    });
    expect(await lettersOf(world.db, subject)).toHaveLength(21);
    expect(await alertsOf(subject)).toHaveLength(1);
  });

  it('raise another alert when the window’s length is changed, also where both windows begin at once', async () => {
    const subject = 'trial.lengths';
    await enterWindow();
    await openDesk().take(lettersTo(subject, 5));
    await setWindow(windowSeconds / 2);
    try {
      await openDesk().take(lettersTo(subject, 5));
      const ends = (await alertsOf(subject)).map(({ message }) =>
        Date.parse(/before (\S+Z) raise no alert/.exec(message)?.[1] ?? ''),
      );
      expect(ends).toEqual([expect.any(Number), (ends[0] ?? NaN) - windowSeconds * 500]);
    } finally {
      await setWindow(windowSeconds);
    }
  });

  it('raise another alert in the next window, which the one before names', async () => {
    const subject = 'trial.windows';
    const desk = openDesk();
    for (const windows of [1, 2, 3]) {
      await enterWindow();
      await desk.take(lettersTo(subject, 10));
      expect(await alertsOf(subject)).toHaveLength(windows);
    }
    const ends = (await alertsOf(subject)).map(
      ({ message }) => /before (\S+Z) raise no alert/.exec(message)?.[1] ?? '',
    );
    const [first = NaN, second, third] = ends.map((end) => Date.parse(end));
    expect([second, third]).toEqual([first + windowSeconds * 1000, first + 2 * windowSeconds * 1000]);
  });
});
