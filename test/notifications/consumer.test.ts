/** What each event tells whom, and what the list endpoints make of it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channelOf } from '../../contracts/channels.ts';
import { setPolicy, createPolicyReader, type PolicyReader } from '../../db/ops/policy.store.ts';
import { formatMinor, notificationSubscriptions } from '../../workers/consumers/ops/notification.consumer.ts';
import type { AfterCommit } from '../../workers/consumers/subscription.ts';
import { field, startTimeoutMs, type ApiAnswer, type DevUser } from '../harness/api.ts';
import { subjectOf } from '../harness/lab.ts';
import { operators, startNotices, type Notices } from './fixture.ts';

let n: Notices;
let policies: PolicyReader;
const publicUrl = 'https://console.example.org';
beforeAll(async () => {
  n = await startNotices();
  policies = createPolicyReader(n.h.db.q);
  for (const as of ['dev-user', 'peer-user', 'other-user', 'dev-admin'] as const) {
    await n.h.request('GET', '/api/v1/auth/personal', { as });
  }
}, startTimeoutMs);
afterAll(() => n?.stop(), startTimeoutMs);

interface Row {
  readonly recipient: string;
  readonly audience: string;
  readonly severity: string;
  readonly type: string;
  readonly title: string;
  readonly message: string;
  readonly actionUrl: string | null;
}

/** Delivers an event to the relay as the consumers' runtime does, and gives what it stored. */
async function relay(
  subject: string,
  payload: Readonly<Record<string, unknown>>,
  options: { readonly url?: string | undefined; readonly eventId?: string } = {},
): Promise<Row[]> {
  const url = 'url' in options ? options.url : publicUrl;
  const all = notificationSubscriptions({ notifier: n.notifier, policies, publicUrl: url });
  const one = all.find(({ channel }) => channel.subject === subject);
  if (one?.kind !== 'effect') throw new Error(`nobody relays ${subject}`);
  const eventId = options.eventId ?? randomUUID();
  const event = {
    event_id: eventId,
    event_type: subject,
    occurred_at: '2026-11-21T10:00:00.000Z',
    version: '1.0',
    correlation_id: 'c',
    payload: channelOf(subject)?.payload.parse(payload),
  };
  let after: AfterCommit | undefined;
  const delivered = { event, stream: 'S', streamSeq: 1, delivery: 1 };
  const known = await one.before(delivered);
  await n.h.db.tx(async (tx) => {
    after = await one.apply(tx, delivered, known);
  });
  await after?.();
  const rows = await n.h.db.q.query.notifications.findMany({
    where: (t, { eq }) => eq(t.eventId, eventId),
    orderBy: (t, { desc }) => desc(t.recipient),
  });
  return rows;
}

const [user, allocation, session, project] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
const org = '0d000000-0000-4000-8000-0000000000d1';
const ofAllocation = { allocation_id: allocation, user_id: user };
const money = { user_id: user, currency: 'USD' };
const reason = 'raw text of a node that nobody but operators may see';
const budget = {
  org_id: org,
  budget_policy_id: randomUUID(),
  threshold_key: '80',
  scope_type: 'tenant',
  spent_minor: 80_050,
  budget_minor: 100_000,
  currency: 'EUR',
  percent_used: 80,
  period_start: '2026-11-01T00:00:00Z',
  period_end: '2026-12-01T00:00:00Z',
};
const [dev, peer, stranger] = (['dev-user', 'peer-user', 'other-user'] as const).map(subjectOf);
const atAllocation = `${publicUrl}/allocations/${allocation}`;
const atBilling = `${publicUrl}/billing`;

type Told = readonly [recipient: string, severity: string, type: string, url: string | null, holds: string];
type Case = readonly [subject: string, payload: Readonly<Record<string, unknown>>, told: readonly Told[]];

const table: readonly Case[] = [
  [
    'gpuaas.provisioning.active',
    { ...ofAllocation, node_id: randomUUID(), active_at: '2026-11-21T10:00:00Z' },
    [[user, 'info', 'info', atAllocation, allocation]],
  ],
  [
    'gpuaas.provisioning.failed',
    { ...ofAllocation, reason },
    [[user, 'error', 'info', atAllocation, allocation]],
  ],
  [
    'gpuaas.provisioning.releasing.completed',
    { ...ofAllocation, released_at: '2026-11-21T10:00:00Z' },
    [[user, 'info', 'info', atAllocation, allocation]],
  ],
  [
    'gpuaas.provisioning.release_failed',
    { ...ofAllocation, reason },
    [
      [user, 'error', 'info', atAllocation, allocation],
      [operators, 'error', 'info', atAllocation, allocation],
    ],
  ],
  [
    'platform.billing.low_balance_warning',
    {
      ...money,
      balance_minor: 499,
      threshold_minor: 500,
      projected_depletion_at: '2026-11-21T12:30:00Z',
      projected_hours_remaining: 2.4,
    },
    [
      [
        user,
        'warning',
        'low_balance_warning',
        atBilling,
        '4.99 USD, below the threshold of 5.00 USD. At the present rate it ends on 2026-11-21 12:30 UTC, in about 2 hours.',
      ],
    ],
  ],
  [
    'platform.billing.auto_release_pending',
    {
      ...money,
      projected_depletion_at: '2026-11-21T12:30:00Z',
      projected_hours_remaining: 1,
      active_allocation_ids: [allocation],
    },
    [
      [
        user,
        'warning',
        'info',
        atBilling,
        '1 allocation will be released when your balance is used up. At the present rate it ends on 2026-11-21 12:30 UTC, in about 1 hour.',
      ],
    ],
  ],
  [
    'platform.billing.balance_depleted',
    { ...money, balance_minor: -5, selected_action: 'force_release' },
    [[user, 'error', 'balance_depleted', atBilling, '-0.05 USD. Your allocations are being released.']],
  ],
  [
    'platform.billing.balance_depleted',
    { ...money, balance_minor: 0, selected_action: 'restrict' },
    [[user, 'error', 'balance_depleted', atBilling, '0.00 USD. New allocations are refused']],
  ],
  [
    'platform.billing.budget_threshold_crossed',
    { ...budget, recipient_user_ids: [dev, peer, stranger] },
    [
      [peer ?? '', 'warning', 'info', atBilling, '1000.00 EUR is used to 80 %: 800.50 EUR spent'],
      [dev ?? '', 'warning', 'info', atBilling, '1000.00 EUR is used to 80 %: 800.50 EUR spent'],
    ],
  ],
  [
    'platform.billing.budget_threshold_crossed',
    { ...budget, percent_used: 100 },
    [[operators, 'error', 'info', atBilling, '100 %']],
  ],
  [
    'platform.billing.budget_threshold_crossed',
    { ...budget, scope_type: 'project', project_id: project },
    [[operators, 'warning', 'info', atBilling, 'project']],
  ],
  [
    'platform.payments.balance_credited',
    { ...money, amount_minor: 1000, source: 'stripe_webhook' },
    [[user, 'info', 'info', atBilling, '10.00 USD was added']],
  ],
  [
    'platform.payments.reconcile_failed',
    { user_id: user, payment_session_id: session, stripe_session_id: 'cs_secret', reason },
    [
      [user, 'warning', 'info', atBilling, 'Support looks into it'],
      [operators, 'error', 'info', null, session],
    ],
  ],
];

describe('an event', () => {
  it.each(table)('%s tells whom it concerns (%#)', async (subject, payload, told) => {
    const rows = await relay(subject, payload);
    expect(rows.map((row) => [row.recipient, row.severity, row.type, row.actionUrl])).toEqual(
      told.map(([recipient, severity, type, url]) => [recipient, severity, type, url]),
    );
    for (const [index, row] of rows.entries()) {
      expect(row.message).toContain(told[index]?.[4]);
      expect(row.audience).toBe(row.recipient === operators ? 'operators' : 'user');
      expect(`${row.title} ${row.message}`).not.toMatch(/raw text|cs_secret|undefined|null|NaN/);
    }
  });

  it('is in the table, of every kind that the relay consumes', () => {
    const relayed = notificationSubscriptions({ notifier: n.notifier, policies, publicUrl });
    expect(relayed.map(({ channel }) => channel.subject).toSorted()).toEqual(
      [...new Set(table.map(([subject]) => subject))].toSorted(),
    );
    expect(new Set(relayed.map(({ group }) => group))).toEqual(new Set(['notification-relay']));
  });

  it('concerns the owner of a project whose budget names nobody', async () => {
    const made = await n.h.request('POST', '/api/v1/projects', {
      as: 'dev-user',
      body: { name: 'budgeted' },
    });
    const of = { ...budget, scope_type: 'project', project_id: field(made, 'id') };
    const rows = await relay('platform.billing.budget_threshold_crossed', of);
    expect(rows.map((row) => row.recipient)).toEqual([dev]);
    const foreign = await relay('platform.billing.budget_threshold_crossed', { ...of, org_id: randomUUID() });
    expect(foreign.map((row) => row.recipient)).toEqual([operators]);
  });

  it('that comes twice is stored once', async () => {
    const eventId = randomUUID();
    const payload = { ...ofAllocation, reason };
    await relay('gpuaas.provisioning.release_failed', payload, { eventId });
    expect(await relay('gpuaas.provisioning.release_failed', payload, { eventId })).toHaveLength(2);
  });

  it.each([
    ['https://h.example', 'https://h.example'],
    ['https://h.example/app', 'https://h.example/app'],
    ['https://h.example/app/', 'https://h.example/app'],
  ])('links below %s', async (url, base) => {
    const rows = await relay('gpuaas.provisioning.failed', { ...ofAllocation, reason }, { url });
    expect(rows.map((row) => row.actionUrl)).toEqual([`${base}/allocations/${allocation}`]);
  });

  it('has no links without an address of the user interface', async () => {
    const rows = await relay('gpuaas.provisioning.failed', { ...ofAllocation, reason }, { url: undefined });
    expect(rows.map((row) => row.actionUrl)).toEqual([null]);
  });

  it.each([
    [
      'notification.low_balance_enabled',
      'platform.billing.low_balance_warning',
      { ...money, balance_minor: 1, threshold_minor: 2 },
    ],
    [
      'notification.balance_depleted_enabled',
      'platform.billing.balance_depleted',
      { ...money, balance_minor: 0 },
    ],
  ] as const)('is told to nobody while %s is off', async (key, subject, payload) => {
    await n.h.db.tx((tx) => setPolicy(tx, key, false));
    policies.refresh();
    expect(await relay(subject, payload)).toEqual([]);
    await n.h.db.tx((tx) => setPolicy(tx, key, true));
    policies.refresh();
    expect(await relay(subject, payload)).toHaveLength(1);
  });

  it.each([
    [0, 'USD', '0.00 USD'],
    [5, 'USD', '0.05 USD'],
    [-123_456, 'EUR', '-1234.56 EUR'],
    [1000, 'JPY', '1000 JPY'],
    [1005, 'BHD', '1.005 BHD'],
    [9_007_199_254_740_991, 'USD', '90071992547409.91 USD'],
  ])('writes %i in minor units of %s as %s', (amount, currency, text) => {
    expect(formatMinor(amount, currency)).toBe(text);
  });
});

const list = (as: DevUser, query = ''): Promise<ApiAnswer> =>
  n.h.request('GET', `/api/v1/notifications${query}`, { as });
const items = (answer: ApiAnswer) =>
  field(answer, 'items') as { id: string; read_at: string | null; audience: string }[];
const read = (as: DevUser, id: string, key?: string): Promise<ApiAnswer> =>
  n.h.request('POST', `/api/v1/notifications/${id}/read`, { as, ...(key === undefined ? {} : { key }) });

describe('the list', () => {
  const mine = subjectOf('solo-user');

  it('200: newest first, by pages that join, as the socket says them', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 7; i += 1)
      ids.push(await n.tell(mine, { title: `t${i}`, actionUrl: 'https://x.example/' }));
    const whole = await list('solo-user');
    expect(items(whole).map((one) => one.id)).toEqual(ids.toReversed());
    expect(items(whole)[0]).toEqual({
      id: ids[6],
      occurred_at: expect.any(String) as string,
      severity: 'info',
      type: 'info',
      title: 't6',
      message: 'A message.',
      action_url: 'https://x.example/',
      audience: 'user',
      read_at: null,
    });
    const walked: string[] = [];
    let cursor: unknown = '';
    while (cursor !== null) {
      const page = await list('solo-user', `?limit=3${cursor === '' ? '' : `&cursor=${String(cursor)}`}`);
      walked.push(...items(page).map((one) => one.id));
      cursor = field(page, 'next_cursor');
    }
    expect(walked).toEqual(ids.toReversed());
  });

  it('200: admins see what operators are told, merged; users do not', async () => {
    const admin = subjectOf('dev-admin');
    const ids = [await n.tell(admin), await n.tell(operators), await n.tell(admin), await n.tell(operators)];
    const seen = items(await list('dev-admin', '?limit=4'));
    expect(seen.map((one) => [one.id, one.audience])).toEqual(
      ids.toReversed().map((id, index) => [id, index % 2 === 0 ? 'operators' : 'user']),
    );
    const first = await list('dev-admin', '?limit=1');
    const rest = await list('dev-admin', `?limit=3&cursor=${String(field(first, 'next_cursor'))}`);
    expect([...items(first), ...items(rest)]).toEqual(seen);
    expect(items(await list('peer-user')).every((one) => one.audience === 'user')).toBe(true);
  });

  it('200: marks one as read, once; the filter and nobody else notice', async () => {
    const [one, other] = [await n.tell(mine), await n.tell(mine)];
    const [done, key] = [await read('solo-user', one, 'k1'), 'k1'];
    expect(done).toMatchObject({ status: 200, body: { id: one } });
    expect(field(done, 'read_at')).toEqual(expect.any(String));
    expect((await read('solo-user', one, key)).body).toEqual(done.body);
    expect((await read('solo-user', one)).body).toEqual(done.body);
    const unread = items(await list('solo-user', '?unread=true&limit=200')).map((row) => row.id);
    expect(unread).toContain(other);
    expect(unread).not.toContain(one);
    expect(items(await list('solo-user', '?unread=false')).map((row) => row.id)).toEqual([one]);
  });

  it('200: marks all up to one as read, and an admin’s reading of the operators’ is their own', async () => {
    const [a, b, c] = [await n.tell(mine), await n.tell(mine), await n.tell(mine)];
    const all = () =>
      n.h.request('POST', '/api/v1/notifications/read-all', { as: 'solo-user', body: { through_id: b } });
    expect(Number(field(await all(), 'marked'))).toBeGreaterThan(1);
    expect((await all()).body).toEqual({ marked: 0 });
    const unread = items(await list('solo-user', '?unread=true')).map((row) => row.id);
    expect([unread.includes(a), unread.includes(b), unread]).toEqual([false, false, [c]]);
    const alert = await n.tell(operators);
    expect((await read('dev-admin', alert)).status).toBe(200);
    const other = await n.person(['user', 'admin']);
    const theirs = await n.h.request('GET', '/api/v1/notifications?limit=1', { token: other.token });
    expect(items(theirs)[0]).toMatchObject({ id: alert, read_at: null });
  });

  it.each([
    ['somebody else’s', () => n.tell(subjectOf('dev-user'))],
    ['the operators’, for a user', () => n.tell(operators)],
    ['nobody’s', () => Promise.resolve(randomUUID())],
  ])('404 for %s', async (_, make) => {
    const id = await make();
    const body = { through_id: id };
    const all = n.h.request('POST', '/api/v1/notifications/read-all', { as: 'solo-user', body });
    for (const answer of [await read('solo-user', id), await all]) {
      expect(answer).toMatchObject({ status: 404, body: { code: 'notification_not_found' } });
    }
    expect(items(await list('solo-user', '?limit=200')).map((one) => one.id)).not.toContain(id);
  });

  it('400 for a bad filter, cursor or id; 401 without a token', async () => {
    for (const query of ['?unread=maybe', '?cursor=zzz', '?limit=0', '?after=1']) {
      expect((await list('solo-user', query)).status).toBe(400);
    }
    expect((await read('solo-user', 'x')).status).toBe(400);
    expect((await n.h.request('GET', '/api/v1/notifications')).status).toBe(401);
  });
});
