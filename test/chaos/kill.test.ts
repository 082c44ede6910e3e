/**
 * Kill -9 of every process in every state: five allocations, one held in each state, one kill, and each of them has to
 * come to its right end. Two platforms share the rows of the table.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  liveAllocationStates,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import {
  provisioningActive,
  releaseFailed,
  releasingCompleted,
} from '../../contracts/allocations/allocation.events.ts';
import { until } from '../harness/lab.ts';
import { startOutside, type Outside } from './outside.ts';

/** Longer than it takes to bring five allocations into their states; the node goes on by itself after it. */
const holdMs = 12_000;
const rowMs = 150_000;
const waitMs = 100_000;

const part = (name: 'nats' | 'redis' | 'postgres' | 'temporal') => async (outside: Outside) => {
  await outside.platform.stack.parts[name].kill();
  return () => outside.platform.stack.parts[name].start();
};
const service = (name: 'api' | 'worker' | 'relay' | 'consumers') => async (outside: Outside) => {
  await outside.platform.services[name].kill();
  return () => outside.platform.services[name].start();
};

/** Kills; resolves to what starts it again. */
const victims: Readonly<Record<string, (outside: Outside) => Promise<() => Promise<void>>>> = {
  api: service('api'),
  worker: service('worker'),
  relay: service('relay'),
  consumers: service('consumers'),
  agent: async ({ agents }) => {
    await agents.kill();
    return () => agents.start();
  },
  nats: part('nats'),
  redis: part('redis'),
  postgres: part('postgres'),
  temporal: part('temporal'),
  'temporal with its database deleted': async ({ platform: { stack } }) => {
    await stack.parts.temporal.kill();
    rmSync(path.join(stack.stateDir, 'temporal'), { recursive: true });
    return () => stack.parts.temporal.start();
  },
};
const states = liveAllocationStates;
const table = Object.keys(victims).flatMap((victim) => states.map((state) => ({ victim, state })));
const skuOf = (state: AllocationState): string => `held-${state.replace('_', '-')}`;

const outsides: Outside[] = [];
const rows = new Map<string, Promise<ReadonlyMap<AllocationState, string>>>();
const done: string[] = [];

beforeAll(async () => {
  outsides.push(...(await Promise.all([0, 1].map(() => startOutside(states.map(skuOf))))));
  const lanes: Promise<void>[] = outsides.map(() => Promise.resolve());
  Object.keys(victims).forEach((victim, index) => {
    const lane = index % outsides.length;
    const outside = outsides[lane];
    const before = lanes[lane];
    if (outside === undefined || before === undefined) throw new Error('no platform');
    const row = before.then(() => killRow(outside, victim));
    rows.set(victim, row);
    // Nodes that a failed row has left behind are nobody's to use: the rest of its lane fails with it.
    lanes[lane] = row.then(() => undefined);
    lanes[lane].catch(() => undefined);
  });
}, rowMs);

afterAll(async () => {
  await Promise.all(outsides.map((outside) => outside.stop()));
}, rowMs);

/** @returns the allocation that was in each state when the process died. */
async function killRow(outside: Outside, victim: string): Promise<ReadonlyMap<AllocationState, string>> {
  const kill = victims[victim];
  if (kill === undefined) throw new Error(`no way to kill ${victim}`);
  const begun = performance.now();
  const held = await holdEveryState(outside);
  const startAgain = await kill(outside);
  await held.letGo();
  await startAgain();
  const ends = [...held.ids].map(([state, id]) => lead(outside, state, id));
  await Promise.all([...ends, held.answered]);
  await outside.audit([...held.ids.values()].map((id) => ({ id, state: 'released' })));
  await consumed(outside, [...held.ids.values()]);
  process.stdout.write(`${victim}: ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  return held.ids;
}

/** Every event of the allocations is in the event log, and what a user is told of was told once. */
async function consumed({ db }: Outside, ids: readonly string[]): Promise<void> {
  let seen: unknown;
  const told = [provisioningActive, releasingCompleted, releaseFailed].map(({ subject }) => sql`${subject}`);
  await until(
    'the consumers have every event',
    async () => {
      const found = await db.q.execute<{ written: number; logged: number; told: number; wanted: number }>(sql`
        with ours as (select * from outbox where aggregate_id = any(${sql.param([...ids])}::uuid[])),
          telling as (select * from ours where subject in (${sql.join(told, sql`, `)}))
        select (select count(*) from ours)::int as written,
          (select count(*) from event_log join ours using (event_id))::int as logged,
          (select count(*) from notifications join telling using (event_id) where audience = 'user')::int as told,
          (select count(*) from telling)::int as wanted`);
      const row = found.rows[0];
      seen = row;
      const some = row !== undefined && row.wanted >= ids.length;
      return some && row.written === row.logged && row.told === row.wanted;
    },
    { withinMs: waitMs, state: () => seen },
  );
}

async function holdEveryState(outside: Outside) {
  const { watch, node } = outside;
  const [active, releaseFailed] = await Promise.all([
    outside.create(skuOf('active')),
    outside.create(skuOf('release_failed')),
  ]);
  await Promise.all([active, releaseFailed].map((id) => watch.until(id, ['active'], waitMs)));
  node(skuOf('release_failed')).faults([{ kind: 'node.gpu_scrub', behaviour: 'fail_permanent' }]);
  await outside.release(releaseFailed);
  const releasing = await outside.create(skuOf('releasing'));
  await watch.until(releasing, ['active'], waitMs);
  node(skuOf('releasing')).faults([{ kind: 'node.allocation_cleanup', behaviour: 'hang', delayMs: holdMs }]);
  node(skuOf('provisioning')).faults([
    { kind: 'node.allocation_prepare', behaviour: 'hang', delayMs: holdMs },
  ]);
  const [provisioning] = await Promise.all([
    outside.create(skuOf('provisioning')),
    outside.release(releasing),
  ]);
  await watch.until(provisioning, ['provisioning'], waitMs);
  await watch.until(releaseFailed, ['release_failed'], waitMs);
  await offered(outside, [releasing, provisioning]);
  const { id: requested, answered, letGo } = await holdRequested(outside);
  const ids = new Map<AllocationState, string>([
    ['requested', requested],
    ['provisioning', provisioning],
    ['active', active],
    ['releasing', releasing],
    ['release_failed', releaseFailed],
  ]);
  for (const [state, id] of ids) await watch.until(id, [state], 1000);
  return { ids, letGo, answered };
}

/** The node has its task, and hangs. */
async function offered(outside: Outside, ids: readonly string[]): Promise<void> {
  await until('the nodes have their tasks', async () => {
    const found = await outside.db.q.execute<{ count: number }>(
      sql`select count(distinct allocation_id)::int as count from node_tasks
          where state = 'offered' and allocation_id = any(${sql.param([...ids])}::uuid[])`,
    );
    return found.rows[0]?.count === ids.length;
  });
}

/** The first node task cannot be written while somebody holds the table: the row stays `requested`. */
async function holdRequested(outside: Outside) {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  let locked: () => void = () => undefined;
  const isLocked = new Promise<void>((resolve) => (locked = resolve));
  const lock = outside.db
    .tx(async (tx) => {
      await tx.execute(sql`lock table node_tasks in exclusive mode`);
      // Longer than the session may usually be idle within a transaction.
      await tx.execute(sql`set local idle_in_transaction_session_timeout = 0`);
      locked();
      await gate;
    })
    // A Postgres that is killed lets go too.
    .catch(() => undefined);
  await isLocked;
  const { id, answered } = outside.begin(skuOf('requested'));
  answered.catch(() => undefined);
  await outside.watch.until(id, ['requested'], waitMs);
  return {
    id,
    answered,
    letGo: async () => {
      letGo();
      await lock;
    },
  };
}

/** What a user does next, from the state in which the allocation was hit. */
async function lead({ watch, release }: Outside, state: AllocationState, id: string): Promise<void> {
  if (state === 'requested' || state === 'provisioning') await watch.until(id, ['active'], waitMs);
  if (state !== 'releasing') await release(id);
  await watch.until(id, ['released'], waitMs);
}

describe('kill -9', () => {
  it.each(table)('of $victim while $state', { timeout: rowMs }, async ({ victim, state }) => {
    const held = await rows.get(victim);
    expect(held?.get(state)).toBeDefined();
    done.push(`${victim} × ${state}`);
  });

  it('was done in every cell', () => {
    process.stdout.write(`cells: ${done.length} of ${table.length}\n`);
    expect(done).toHaveLength(Object.keys(victims).length * states.length);
    expect(states).toEqual(['requested', 'provisioning', 'active', 'releasing', 'release_failed']);
  });
});
