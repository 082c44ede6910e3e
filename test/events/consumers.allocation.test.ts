import { randomUUID } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  allocationChannels,
  forceReleaseRequested,
  provisioningActive,
  provisioningRequested,
  releaseFailed,
  releasingCompleted,
  releasingRequested,
} from '../../contracts/allocations/allocation.events.ts';
import type { AnyChannel, PayloadOf } from '../../contracts/envelope.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { readNow } from '../../db/clock.ts';
import { publish } from '../../db/outbox.ts';
import { deadLetters, meteredAllocations, operations } from '../../db/schema.ts';
import type { ConsumerRuntime } from '../../workers/consumers/runtime.ts';
import { startLabConsumers } from '../harness/lab-consumers.ts';
import { startLab, subjectOf, until, type Lab } from '../harness/lab.ts';

let lab: Lab;
let runtime: ConsumerRuntime;

beforeAll(async () => {
  lab = await startLab({ nodes: ['a-sku', 'b-sku', 'c-sku'] });
  runtime = await startLabConsumers(lab);
}, 120_000);
afterAll(async () => {
  await runtime.stop(2000);
  await lab.stop();
});

const active = async (sku: string): Promise<string> => {
  const { id, status } = await lab.create({ sku });
  expect(status).toBe(201);
  await lab.untilState(id, 'active');
  return id;
};

/** As a producer commits it. */
async function emit<C extends AnyChannel>(channel: C, payload: PayloadOf<C>): Promise<string> {
  return await lab.db.tx(async (tx) =>
    publish(tx, channel, {
      payload,
      idempotencyKey: [randomUUID()],
      aggregateId: randomUUID(),
      aggregateSeq: 1,
      correlationId: 'allocation-consumer-test',
      occurredAt: await readNow(tx),
    }),
  );
}

/** Events of the log that name the allocation, by subject. */
async function logged(subject: string, allocationId: string): Promise<number> {
  const found = await lab.db.q.execute(sql`
    select 1 from event_log where subject = ${subject}
      and (payload ->> 'allocation_id' = ${allocationId} or payload -> 'allocation_ids' ? ${allocationId})`);
  return found.rows.length;
}

const consumed = async (consumer: string, eventId: string): Promise<boolean> =>
  (
    await lab.db.q.execute(
      sql`select 1 from consumed_events where consumer = ${consumer} and event_id = ${eventId}`,
    )
  ).rows.length > 0;
const forces = 'provisioning--gpuaas-provisioning-force_release_requested';
const force = (ids: string[], userId = subjectOf('dev-user')) =>
  emit(forceReleaseRequested, { user_id: userId, allocation_ids: ids, reason: 'balance depleted' });
const forceOperations = (id: string) =>
  lab.db.q
    .select()
    .from(operations)
    .where(sql`entity_id = ${id} and kind = 'allocation.force_release'`);

/** Update ids that the run has accepted. */
async function updateIds(id: string): Promise<string[]> {
  const handle = lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id)));
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap((event) => {
    const meta = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.meta;
    return meta?.updateId == null ? [] : [meta.updateId];
  });
}

describe('force_release_requested', () => {
  it('releases each of its allocations, once, under update ids that come from the event', async () => {
    const ids = [await active('a-sku'), await active('b-sku')];
    const eventId = await force(ids);
    for (const id of ids) await lab.untilState(id, 'released');
    for (const id of ids) {
      const key = uuid5('force-release', eventId, id);
      expect(await updateIds(id)).toContain(key);
      const found = await forceOperations(id);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatchObject({
        caller: subjectOf('dev-user'),
        route: forceReleaseRequested.subject,
        key,
        state: 'accepted',
      });
      // The command's own event and the one that the allocation's way publishes: neither begins anything again.
      await until('both are logged', async () => (await logged(forceReleaseRequested.subject, id)) === 2);
      await until('its end is logged', async () => (await logged(releasingCompleted.subject, id)) === 1);
    }
  });

  it('of one allocation takes the event id itself as update id', async () => {
    const id = await active('a-sku');
    const eventId = await force([id]);
    await lab.untilState(id, 'released');
    expect(await updateIds(id)).toContain(eventId);
  });

  it('that the allocation’s own way published commands nothing: an admin’s force-release does not go round', async () => {
    const id = await active('a-sku');
    expect((await lab.forceRelease(id)).status).toBe(202);
    await lab.untilState(id, 'released');
    await until('its event is logged', async () => (await logged(forceReleaseRequested.subject, id)) === 1);
    const [event] = (
      await lab.db.q.execute<{ event_id: string }>(
        sql`select event_id from event_log where subject = ${forceReleaseRequested.subject} and payload -> 'allocation_ids' ? ${id}`,
      )
    ).rows;
    await until('the group has seen it', () => consumed(forces, event?.event_id ?? ''));
    expect(await forceOperations(id)).toHaveLength(1);
    expect(await logged(releasingRequested.subject, id)).toBe(1);
    expect((await updateIds(id)).filter((one) => one === event?.event_id)).toEqual([]);
  });

  it.each([
    ['does not exist', 'allocation_not_found', () => Promise.resolve(randomUUID()), subjectOf('dev-user')],
    ['is another user’s', 'ownership_required', () => active('c-sku'), subjectOf('dev-admin')],
  ] as const)('of an allocation that %s is dead and commands nothing', async (_what, code, make, userId) => {
    const [good, bad] = [await active('b-sku'), await make()];
    const eventId = await force([good, bad], userId);
    await until('it is dead', async () => {
      const [row] = await lab.db.q.select().from(deadLetters).where(eq(deadLetters.messageKey, eventId));
      return row?.reason === 'rejected' && row.errorCode === code && row.consumer === forces;
    });
    expect((await lab.row(good))?.state).toBe('active');
    for (const id of [good, bad]) await lab.release(id);
    await lab.untilState(good, 'released');
  });
});

describe('the events of a run', () => {
  it.each([
    ['requested', provisioningRequested],
    ['releasing.requested', releasingRequested],
  ] as const)('%s leave a run that is there alone, and start one that is missing', async (_what, of) => {
    const id = await active('a-sku');
    const moveBack = () =>
      lab.db.q.execute(
        sql`update allocations set state_since = state_since - interval '1 minute' where id = ${id}::uuid`,
      );
    await moveBack();
    const handle = () => lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id)));
    const before = (await handle().describe()).runId;
    const payload = { allocation_id: id, user_id: subjectOf('dev-user') };
    const tell = () =>
      of === provisioningRequested
        ? emit(provisioningRequested, { ...payload, scheduler_type: 'bare_metal' })
        : emit(releasingRequested, { ...payload, reason: 'a test' });
    const consumer = `provisioning--${of.subject.replaceAll('.', '-')}`;
    const first = await tell();
    await until('it is consumed', () => consumed(consumer, first));
    expect((await handle().describe()).runId).toBe(before);
    // Without its worker there are no reconcilers either: only the consumer can start it.
    await lab.stopWorker();
    await handle().terminate('lost');
    await lab.db.q.execute(sql`update allocations set state_since = gpuaas_now() where id = ${id}::uuid`);
    const young = await tell();
    await until('it is consumed', () => consumed(consumer, young));
    // One that moved just now is not asked for.
    expect((await handle().describe()).status.name).toBe('TERMINATED');
    await moveBack();
    const second = await tell();
    await until('it is consumed', () => consumed(consumer, second));
    const after = await handle().describe();
    expect([after.status.name, after.runId === before]).toEqual(['RUNNING', false]);
    await lab.startWorker();
    expect((await lab.release(id)).status).toBe(202);
    await lab.untilState(id, 'released');
  });
});

describe('billing', () => {
  const metered = async (id: string) =>
    (await lab.db.q.select().from(meteredAllocations).where(eq(meteredAllocations.allocationId, id)))[0];

  it('hears when metering begins and ends, to the millisecond of the row', async () => {
    const id = await active('b-sku');
    await until('it began', async () => (await metered(id))?.startedAt != null);
    const row = await lab.row(id);
    expect(await metered(id)).toMatchObject({
      startedAt: row?.activeAt,
      endedAt: null,
      endedBy: null,
      userId: subjectOf('dev-user'),
      nodeId: row?.nodeId,
      projectId: row?.projectId,
    });
    await lab.release(id);
    const released = await lab.untilState(id, 'released');
    await until('it ended', async () => (await metered(id))?.endedAt != null);
    expect(await metered(id)).toMatchObject({
      startedAt: released.activeAt,
      endedAt: released.releasedAt,
      endedBy: releasingCompleted.subject,
    });
  });

  const start = '2026-03-01T10:00:00.000Z';
  const [early, late] = ['2026-03-01T11:00:00.000Z', '2026-03-01T12:00:00.000Z'];
  type Step = readonly ['active' | 'completed' | 'failed', string];
  const rows: readonly [
    what: string,
    steps: readonly Step[],
    startedAt: string | null,
    endedAt: string | null,
  ][] = [
    ['a start', [['active', start]], start, null],
    [
      'an end before its start',
      [
        ['completed', early],
        ['active', start],
      ],
      start,
      early,
    ],
    ['an end alone', [['completed', early]], null, early],
    [
      'a second, later end',
      [
        ['active', start],
        ['completed', early],
        ['completed', late],
      ],
      start,
      early,
    ],
    [
      'a second, earlier end',
      [
        ['active', start],
        ['completed', late],
        ['completed', early],
      ],
      start,
      early,
    ],
    [
      'a start after the end: no resuming',
      [
        ['active', start],
        ['completed', early],
        ['active', late],
      ],
      start,
      early,
    ],
    [
      'release_failed, then released',
      [
        ['active', start],
        ['failed', ''],
        ['completed', '2126-01-01T00:00:00.000Z'],
      ],
      start,
      'failed',
    ],
  ];
  it.each(rows)('keeps the interval of %s', async (_what, steps, startedAt, endedAt) => {
    const id = randomUUID();
    const base = { allocation_id: id, user_id: randomUUID() };
    let failedAt = '';
    for (const [kind, at] of steps) {
      const eventId =
        kind === 'active'
          ? await emit(provisioningActive, { ...base, node_id: randomUUID(), active_at: at })
          : kind === 'completed'
            ? await emit(releasingCompleted, { ...base, released_at: at })
            : await emit(releaseFailed, { ...base, reason: 'a test' });
      const subject = { active: provisioningActive, completed: releasingCompleted, failed: releaseFailed }[
        kind
      ].subject;
      await until('it is consumed', () => consumed(`billing--${subject.replaceAll('.', '-')}`, eventId));
      if (kind === 'failed') failedAt = (await metered(id))?.endedAt?.toISOString() ?? '';
    }
    const found = await metered(id);
    expect([found?.startedAt?.toISOString() ?? null, found?.endedAt?.toISOString() ?? null]).toEqual([
      startedAt,
      endedAt === 'failed' ? failedAt : endedAt,
    ]);
  });

  it('and every other event of the lifecycle is in the log', async () => {
    const found = await lab.db.q.execute<{ subject: string }>(sql`select distinct subject from event_log`);
    const subjects = new Set(found.rows.map((row) => row.subject));
    const missing = allocationChannels
      .map(({ subject }) => subject)
      .filter((subject) => !subjects.has(subject));
    // Nothing failed to be provisioned here.
    expect(missing).toEqual(['gpuaas.provisioning.failed']);
  });
});
