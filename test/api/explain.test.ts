/** What `explain` says of a wait, held against what the test did to cause it. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTimeoutMs } from '../harness/api.ts';
import { assertNoResidue, startLab, until, type Lab, type LabNode } from '../harness/lab.ts';

const skus = ['no-worker', 'dead-agent', 'retried', 'no-engine', 'not-released'] as const;
type Sku = (typeof skus)[number];
const prepare = 'node.allocation_prepare';
const attempts = 3;

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: skus });
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

function nodeOf(sku: Sku): LabNode {
  const node = [...lab.nodes.values()].find((one) => one.sku === sku);
  if (node === undefined) throw new Error(`no node of ${sku}`);
  return node;
}

async function created(sku: Sku): Promise<string> {
  const { id, status } = await lab.create({ sku });
  expect(status).toBe(201);
  return id;
}

/** Waits until the newest task of an allocation is in a state. */
const untilTask = (id: string, state: string): Promise<void> =>
  until(
    `the task of ${id} is ${state}`,
    async () => (await lab.explain(id))['node_task'] !== null && (await taskOf(id)).state === state,
  );

async function taskOf(id: string) {
  const found = await lab.db.q.execute<{
    state: string;
    message: string | null;
    code: string | null;
    at: string | null;
  }>(
    sql`select state, verdict #>> '{failure,message}' as message, verdict #>> '{failure,code}' as code,
          (extract(epoch from result_at) * 1000)::bigint as at
        from node_tasks where allocation_id = ${id}::uuid order by fence desc limit 1`,
  );
  const [row] = found.rows;
  if (row === undefined) throw new Error(`${id} has no task`);
  return row;
}

/** Polls until what it waits for begins with this. @returns the whole explanation. */
async function untilWaitsFor(id: string, start: string): Promise<Record<string, unknown>> {
  let told: Record<string, unknown> = {};
  await until(
    `${id} waits for ${start}`,
    async () => String((told = await lab.explain(id))['waiting_on']).startsWith(start),
    { state: () => told },
  );
  return told;
}

const released = async (id: string): Promise<void> => {
  expect((await lab.release(id)).status).toBe(202);
  await lab.untilState(id, 'released');
  await assertNoResidue(lab, [{ id, state: 'released' }]);
};
const waitsForItsUser = { state: 'active', waiting_on: 'a release', who_can_unblock: 'user' };

describe('explain tells', () => {
  it('no worker: the node has done its task, and nobody takes the next step', async () => {
    const node = nodeOf('no-worker');
    await node.stop();
    const id = await created('no-worker');
    await untilTask(id, 'queued');
    await lab.stopWorker();
    await node.start();
    await untilTask(id, 'succeeded');
    const told = await untilWaitsFor(id, 'a worker of provisioning: a step waits for one since ');
    expect(told).toMatchObject({
      state: 'provisioning',
      who_can_unblock: 'platform',
      node_task: { kind: prepare, state: 'succeeded' },
      workflow: { status: 'running' },
    });
    await lab.startWorker();
    await lab.untilState(id, 'active');
    expect(await lab.explain(id)).toMatchObject(waitsForItsUser);
    await released(id);
  });

  it('a dead agent: since when nothing was heard of the node', async () => {
    const node = nodeOf('dead-agent');
    await node.stop();
    const id = await created('dead-agent');
    await untilTask(id, 'queued');
    expect(await lab.explain(id)).toMatchObject({
      waiting_on: `node task ${prepare}`,
      who_can_unblock: 'node',
    });
    await lab.setPolicy('node.offline_after_seconds', 1);
    const start = `node task ${prepare}: nothing was heard of the node since `;
    const told = await untilWaitsFor(id, start);
    expect(told).toMatchObject({
      state: 'provisioning',
      who_can_unblock: 'node',
      node_task: { state: 'queued', offered_at: null },
    });
    const seen = await lab.request('GET', `/api/v1/admin/nodes/${node.id}`, { as: 'dev-admin' });
    expect(seen.body).toMatchObject({ last_contact_at: String(told['waiting_on']).slice(start.length) });
    await lab.setPolicy('node.offline_after_seconds', 3600);
    await node.start();
    await lab.untilState(id, 'active');
    expect(await lab.explain(id)).toMatchObject(waitsForItsUser);
    await released(id);
  });

  it('a task that failed: which attempt comes next, when, and the code, without the words of the node', async () => {
    const pauseMs = 25_000;
    await lab.setPolicy('allocation.task_retry_milliseconds', pauseMs);
    nodeOf('retried').faults([{ kind: prepare, behaviour: 'fail' }]);
    const id = await created('retried');
    await untilTask(id, 'failed');
    const { message, code, at } = await taskOf(id);
    expect(message).toMatch(/./);
    const next = new Date(Number(at) + pauseMs).toISOString();
    for (const who of ['dev-user', 'dev-admin'] as const) {
      const told = await lab.explain(id, who);
      expect(told).toMatchObject({
        state: 'provisioning',
        waiting_on: `attempt 2 of ${attempts} at ${next}: node task ${prepare} failed with ${code}`,
        who_can_unblock: 'node',
        node_task: { kind: prepare, state: 'failed' },
      });
      expect(JSON.stringify(told)).not.toContain(message);
    }
    await lab.setPolicy('allocation.task_retry_milliseconds', 20);
    await released(id);
  });

  it('a failed release: its user and an admin can go on, and both really can', async () => {
    const id = await created('not-released');
    await lab.untilState(id, 'active');
    for (const goOn of [lab.release, lab.forceRelease]) {
      nodeOf('not-released').faults([{ kind: 'node.allocation_cleanup', behaviour: 'fail_permanent' }]);
      expect((await goOn(id)).status).toBe(202);
      await lab.untilState(id, 'release_failed');
      expect(await lab.explain(id)).toMatchObject({
        state: 'release_failed',
        waiting_on: 'a release by its user or a force-release by an admin',
        who_can_unblock: 'admin',
        workflow: { status: 'running' },
      });
    }
    await released(id);
    expect(await lab.explain(id)).toMatchObject({
      state: 'released',
      waiting_on: null,
      who_can_unblock: 'nobody',
    });
  });

  it('the engine away: all that Postgres knows, without the run', async () => {
    const id = await created('no-engine');
    await lab.untilState(id, 'active');
    const before = await lab.explain(id);
    expect(before).toMatchObject({ ...waitsForItsUser, workflow: { status: 'running' } });
    await lab.api.stack.parts.temporal.stop();
    const told = await lab.explain(id);
    expect(told).toEqual({ ...before, workflow: null });
    await lab.api.stack.parts.temporal.start();
    await until('the run is told again', async () => (await lab.explain(id))['workflow'] !== null);
    expect(await lab.explain(id)).toEqual(before);
    await released(id);
  });
});
