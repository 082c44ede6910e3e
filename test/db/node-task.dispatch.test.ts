import { sql } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  OutdatedTaskError,
  nodeTaskDispatcher,
  type NodeTaskDispatcher,
} from '../../activities/allocations/allocation.tasks.ts';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import { asId, type AllocationId, type NodeId } from '../../contracts/ids.ts';
import type { NodeTaskKind, NodeTaskRequest } from '../../contracts/nodes/node-task.tasks.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import * as tasks from '../../db/nodes/node-task.store.ts';
import { until } from '../harness/lab.ts';
import { createTestDatabase, type TestDatabase } from '../harness/stack.ts';

/** A worker queues the task of a first attempt by what it remembers; what it remembers may be out of date. */
let database: TestDatabase;
let db: Database;
let worker: NodeTaskDispatcher;
let other: NodeTaskDispatcher;
let allocationId: AllocationId;
let nodeId: NodeId;

beforeAll(async () => {
  database = await createTestDatabase();
  db = openDatabase({ url: database.appUrl, applicationName: 'test' });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

let serial = 0;

/** A tenant's allocation in `requested`, and two workers that have never heard of it. */
beforeEach(async () => {
  const [org, user, project] = [randomUUID(), randomUUID(), randomUUID()];
  allocationId = asId(randomUUID());
  nodeId = asId(randomUUID());
  const uid = 10_000 + (serial += 1);
  await db.tx(async (tx) => {
    await tx.execute(sql`insert into orgs values (${org}, 'o', false, now())`);
    await tx.execute(sql`insert into users values (${user}, ${org}, now())`);
    await tx.execute(sql`insert into posix_identities (user_id, username, uid, gid, created_at)
      values (${user}, ${`tenant${uid}`}, ${uid}, ${uid}, now())`);
    await tx.execute(sql`insert into projects values (${project}, ${org}, 'p', 'p', ${user}, now(), now())`);
    await tx.execute(sql`insert into skus (code, title, gpu_model, gpu_count, cpu_cores, memory_gib, price_per_hour_minor,
      currency, created_at) values ('s', 's', 'g', 1, 1, 1, 1, 'USD', now()) on conflict do nothing`);
    await tx.execute(sql`insert into nodes (id, name, sku, state, slot_count, ssh_host, ssh_port, agent_secret_hash,
      created_at) values (${nodeId}, ${nodeId}, 's', 'available', 1, 'h', 22, 'x', now())`);
    await tx.execute(sql`insert into allocations (id, org_id, project_id, user_id, sku, scheduler_type, state, version,
      node_id, create_operation_id, correlation_id, who_can_unblock, created_at, state_since)
      values (${allocationId}, ${org}, ${project}, ${user}, 's', 'bare_metal', 'requested', 1, ${nodeId},
      ${randomUUID()}, 'c', 'platform', now(), now())`);
  });
  worker = nodeTaskDispatcher({ tasks: { ...tasks } });
  other = nodeTaskDispatcher({ tasks: { ...tasks } });
});

const task = (kind: NodeTaskKind): NodeTaskRequest => ({
  allocationId,
  nodeId,
  kind,
  correlationId: 'c',
  reason: 'test',
});

const at = (activityId: string, attempt = 1) => ({
  workflowId: `allocation-${allocationId}`,
  runId: 'run',
  activityId,
  attempt,
  timeoutSeconds: 60,
});

const start = (): TransitionOrder => ({
  allocationId,
  version: 1,
  from: 'requested',
  event: 'provisioning_started',
  to: 'provisioning',
  underWay: null,
  correlationId: 'c',
  reason: null,
  command: null,
  provenClean: false,
});

const prepare = (by = worker) => by.quickly(db.q, task('node.allocation_prepare'), at('1'), start());

async function rows() {
  const found = await db.q.execute<{ activity_id: string; state: string; fence: string; attempt: number }>(
    sql`select activity_id, state, fence::int as fence, attempt from node_tasks where allocation_id = ${allocationId}
      order by fence`,
  );
  return found.rows;
}

async function setState(state: string): Promise<void> {
  await db.q.execute(
    sql`update allocations set state = ${state}::allocation_state where id = ${allocationId}`,
  );
}

const queued = (activityId: string, fence: number) => ({
  activity_id: activityId,
  state: 'queued',
  fence,
  attempt: 1,
});
const superseded = (activityId: string, fence: number) => ({
  ...queued(activityId, fence),
  state: 'superseded',
});

describe('the first task with the transition that travels with it', () => {
  it('moves the row, tells of it, says what it waits for and until when, and queues the task', async () => {
    expect(await prepare()).toBe(true);
    expect(await rows()).toEqual([queued('1', 1)]);
    const row = await db.q.execute(sql`
      select a.state, a.version, a.waiting_on, a.who_can_unblock,
        round(extract(epoch from a.deadline - a.state_since))::int as seconds, t.event, t.from_state, t.to_state
      from allocations a join timeline t on t.entity_id = a.id and t.seq = a.version where a.id = ${allocationId}`);
    expect(row.rows).toEqual([
      {
        state: 'provisioning',
        version: 2,
        waiting_on: expect.stringContaining('prepare'),
        who_can_unblock: 'node',
        seconds: 60,
        event: 'provisioning_started',
        from_state: 'requested',
        to_state: 'provisioning',
      },
    ]);
  });

  it('queues no task under a fence that moved meanwhile, and the careful way goes on from the moved row', async () => {
    let commit = (): void => undefined;
    const asked = new Promise<void>((resolve) => (commit = resolve));
    let held = false;
    const rival = db.tx(async (tx) => {
      await tx.execute(sql`update nodes set fence = fence + 1 where id = ${nodeId}`);
      held = true;
      await asked;
    });
    await until('the rival holds the node', () => Promise.resolve(held));
    const quick = prepare();
    await until('the statement waits for the node', async () => {
      const waiting = await db.q.execute(
        sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return waiting.rows.length > 0;
    });
    commit();
    await rival;
    expect(await quick).toBe(false);
    expect(await rows()).toEqual([]);
    const row = await db.q.execute(sql`select state, version from allocations where id = ${allocationId}`);
    expect(row.rows).toEqual([{ state: 'provisioning', version: 2 }]);
    expect(await worker.dispatch(db.q, task('node.allocation_prepare'), at('1'))).toBeNull();
    expect(await rows()).toEqual([queued('1', 2)]);
  });

  it('does nothing for a row that does not stand as its admission left it', async () => {
    await setState('releasing');
    expect(await prepare()).toBe(false);
    expect(await rows()).toEqual([]);
    const row = await db.q.execute(sql`select state, version from allocations where id = ${allocationId}`);
    expect(row.rows).toEqual([{ state: 'releasing', version: 1 }]);
  });

  it('does nothing for an order that carries a command, nor for one with another task', async () => {
    const command = {
      operationId: asId<never>(randomUUID()),
      command: 'release' as const,
      actorUserId: asId<never>(randomUUID()),
      actorRole: 'user' as const,
      correlationId: 'c',
    };
    const prepared = task('node.allocation_prepare');
    expect(await worker.quickly(db.q, prepared, at('1'), { ...start(), command })).toBe(false);
    expect(await worker.quickly(db.q, task('node.gpu_scrub'), at('1'), start())).toBe(false);
    expect(await rows()).toEqual([]);
  });
});

describe('a task by what the worker remembers', () => {
  const cleanUp = (activityId: string, by = worker) =>
    by.quickly(db.q, task('node.allocation_cleanup'), at(activityId));
  const scrub = (activityId: string, by = worker) => by.quickly(db.q, task('node.gpu_scrub'), at(activityId));

  it('is queued by the worker that queued the one before, which it closes to results', async () => {
    await prepare();
    await setState('releasing');
    expect(await cleanUp('2')).toBe(true);
    expect(await scrub('3')).toBe(true);
    expect(await rows()).toEqual([superseded('1', 1), superseded('2', 2), queued('3', 3)]);
  });

  it('is made of what another worker would read', async () => {
    await prepare();
    await setState('releasing');
    const params = async () =>
      (
        await db.q.execute(
          sql`select params from node_tasks where allocation_id = ${allocationId} order by fence desc`,
        )
      ).rows[0];
    for (const kind of [
      'node.allocation_cleanup',
      'node.gpu_scrub',
      'node.storage_cleanup',
      'node.validate_clean',
    ] as const) {
      expect(await worker.quickly(db.q, task(kind), at(`quick ${kind}`))).toBe(true);
      const quick = await params();
      expect(await other.dispatch(db.q, task(kind), at(`careful ${kind}`))).toBeNull();
      expect(await params()).toEqual(quick);
      // Its memory is older than the node's fence now: it has to look, and then knows again.
      expect(await worker.quickly(db.q, task(kind), at(`again ${kind}`))).toBe(false);
      expect(await worker.dispatch(db.q, task(kind), at(`again ${kind}`))).toBeNull();
    }
  });

  it('is left to the careful way by a worker that knows nothing of the allocation', async () => {
    await prepare();
    await setState('releasing');
    expect(await cleanUp('2', other)).toBe(false);
    expect(await other.dispatch(db.q, task('node.allocation_cleanup'), at('2'))).toBeNull();
    expect(await scrub('3', other)).toBe(true);
    // The first worker saw neither: its fence is an old one, and it supersedes nothing.
    expect(await cleanUp('4')).toBe(false);
    expect(await rows()).toEqual([superseded('1', 1), superseded('2', 2), queued('3', 3)]);
  });

  it('is not queued twice for one activity, and the second time closes no other task', async () => {
    await prepare();
    await setState('releasing');
    await cleanUp('2');
    await scrub('3');
    expect(await cleanUp('2')).toBe(false);
    expect(await rows()).toEqual([superseded('1', 1), superseded('2', 2), queued('3', 3)]);
    // The careful way finds that it was fenced off.
    await expect(worker.dispatch(db.q, task('node.allocation_cleanup'), at('2'))).rejects.toThrow(
      OutdatedTaskError,
    );
    expect(await scrub('4')).toBe(true);
  });

  it('is not queued for a later attempt, nor for a preparation without its transition', async () => {
    await prepare();
    expect(await worker.quickly(db.q, task('node.gpu_scrub'), at('2', 2))).toBe(false);
    expect(await worker.quickly(db.q, task('node.allocation_prepare'), at('3'))).toBe(false);
    expect(await rows()).toEqual([queued('1', 1)]);
  });

  it('is not queued for a row that has left its state', async () => {
    await prepare();
    await setState('released');
    expect(await cleanUp('2')).toBe(false);
    expect(await rows()).toEqual([queued('1', 1)]);
    await expect(worker.dispatch(db.q, task('node.allocation_cleanup'), at('2'))).rejects.toThrow(
      OutdatedTaskError,
    );
  });

  it('is queued once when two workers that both remember it queue at once', async () => {
    await prepare();
    await setState('releasing');
    expect(await other.dispatch(db.q, task('node.allocation_cleanup'), at('2'))).toBeNull();
    expect(await worker.dispatch(db.q, task('node.allocation_cleanup'), at('3'))).toBeNull();
    expect(await other.dispatch(db.q, task('node.allocation_cleanup'), at('4'))).toBeNull();
    const both = await Promise.all([scrub('5', other), scrub('6', worker), scrub('7', other)]);
    expect(both.filter(Boolean)).toHaveLength(1);
    const open = (await rows()).filter((row) => row.state === 'queued');
    expect(open).toHaveLength(1);
    expect(open[0]?.fence).toBe(5);
  });
});
