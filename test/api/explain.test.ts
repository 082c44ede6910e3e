/** What `explain` says of a wait, held against what the test did to cause it. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { field, startTimeoutMs } from '../harness/api.ts';
import { assertNoResidue, startLab, until, type Lab, type LabNode } from '../harness/lab.ts';

const skus = [
  'no-worker',
  'dead-agent',
  'retried',
  'second-try',
  'given-up',
  'no-engine',
  'run-lost',
  'not-released',
] as const;
type Sku = (typeof skus)[number];
const prepare = 'node.allocation_prepare';
const cleanup = 'node.allocation_cleanup';
const attempts = 3;
/** Of a task that has not failed, in its first attempt. */
const firstAttempt = { attempt: 1, max_attempts: attempts, next_attempt_at: null, failure_code: null };
const phaseOver = { attempt: null, max_attempts: null, next_attempt_at: null };
const stepTaken = { step_due_since: null, last_worker_poll_at: null };

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

/** What an admin sees of the last contact of a node. */
async function lastContactOf(node: LabNode): Promise<string> {
  const seen = await lab.request('GET', `/api/v1/admin/nodes/${node.id}`, { as: 'dev-admin' });
  return String(field(seen, 'last_contact_at'));
}

const millisOf = (fact: unknown, name: string): number =>
  Date.parse(String((fact as Record<string, unknown>)[name]));

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
    const start = 'a worker of provisioning: a step waits for one since ';
    const told = await untilWaitsFor(id, start);
    const [since, polledAt] = String(told['waiting_on'])
      .slice(start.length)
      .split(', the last poll of the queue was at ');
    expect(told).toMatchObject({
      state: 'provisioning',
      who_can_unblock: 'platform',
      node_task: { kind: prepare, state: 'succeeded', ...firstAttempt },
      node: { id: node.id, silent_for_seconds: null },
      workflow: { status: 'running', step_due_since: since, last_worker_poll_at: polledAt },
    });
    // The step came with the node's result, and no worker has asked for any since.
    expect(millisOf(told['workflow'], 'step_due_since')).toBeGreaterThanOrEqual(
      Number((await taskOf(id)).at),
    );
    expect(millisOf(told['workflow'], 'last_worker_poll_at')).toBeLessThanOrEqual(Date.parse(String(since)));
    await lab.startWorker();
    await lab.untilState(id, 'active');
    expect(await lab.explain(id)).toMatchObject({
      ...waitsForItsUser,
      node_task: phaseOver,
      workflow: stepTaken,
    });
    await released(id);
  });

  it('a dead agent: since when nothing was heard of the node, or that nothing ever was', async () => {
    const node = nodeOf('dead-agent');
    await node.stop();
    const id = await created('dead-agent');
    await untilTask(id, 'queued');
    const contactAt = await lastContactOf(node);
    expect(await lab.explain(id)).toMatchObject({
      waiting_on: `node task ${prepare}`,
      who_can_unblock: 'node',
      node_task: firstAttempt,
      node: { id: node.id, last_contact_at: contactAt, silent_for_seconds: null },
    });
    await lab.setPolicy('node.offline_after_seconds', 1);
    await untilWaitsFor(id, `node task ${prepare}: nothing was heard of the node since ${contactAt}`);
    const secondsSince = () => Math.floor((Date.now() - Date.parse(contactAt)) / 1000);
    const atLeast = secondsSince();
    const told = await lab.explain(id);
    expect(told).toMatchObject({
      state: 'provisioning',
      who_can_unblock: 'node',
      node_task: { state: 'queued', offered_at: null, ...firstAttempt },
      node: { id: node.id, last_contact_at: contactAt },
      workflow: stepTaken,
    });
    const { silent_for_seconds: silentForSeconds } = told['node'] as { silent_for_seconds: number };
    expect(silentForSeconds).toBeGreaterThanOrEqual(atLeast);
    expect(silentForSeconds).toBeLessThanOrEqual(secondsSince());
    await lab.db.q.execute(sql`update nodes set last_contact_at = null where id = ${node.id}::uuid`);
    expect(await lab.explain(id)).toMatchObject({
      waiting_on: `node task ${prepare}: the node was never heard of`,
      who_can_unblock: 'node',
      node: { id: node.id, last_contact_at: null, silent_for_seconds: null },
    });
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
        node_task: {
          ...{ kind: prepare, state: 'failed', attempt: 1, max_attempts: attempts },
          ...{ next_attempt_at: next, failure_code: code },
        },
        node: { id: nodeOf('retried').id, silent_for_seconds: null },
        workflow: stepTaken,
      });
      expect(JSON.stringify(told)).not.toContain(message);
    }
    await lab.setPolicy('allocation.task_retry_milliseconds', 20);
    await released(id);
  });

  it('an attempt after one that failed: its number, and no failure any more', async () => {
    nodeOf('second-try').faults([
      { kind: prepare, behaviour: 'fail' },
      { kind: prepare, behaviour: 'hang' },
    ]);
    const id = await created('second-try');
    await until('the second attempt is with the node', async () => {
      const task = (await lab.explain(id))['node_task'] as Record<string, unknown> | null;
      return task?.['attempt'] === 2 && task['state'] === 'offered';
    });
    expect(await lab.explain(id)).toMatchObject({
      state: 'provisioning',
      waiting_on: `node task ${prepare}`,
      who_can_unblock: 'node',
      node_task: { ...firstAttempt, attempt: 2, kind: prepare, state: 'offered' },
    });
    await released(id);
  });

  it('a run that was started anew: its own attempts, none of the lost one', async () => {
    const node = nodeOf('run-lost');
    node.faults([
      { kind: prepare, behaviour: 'fail', times: attempts - 1 },
      { kind: prepare, behaviour: 'hang', times: 2 },
    ]);
    const id = await created('run-lost');
    let told: Record<string, unknown> | null = null;
    const untilOffered = (what: string, isIt: (task: Record<string, unknown>) => boolean) =>
      until(
        what,
        async () => {
          told = (await lab.explain(id))['node_task'] as Record<string, unknown> | null;
          return told?.['state'] === 'offered' && isIt(told);
        },
        { state: () => told },
      );
    await untilOffered('the last attempt is with the node', (task) => task['attempt'] === attempts);
    const { id: lastId } = (await lab.explain(id))['node_task'] as { id: string };
    await lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id))).terminate('lost');
    await untilOffered('the next run has asked the node', (task) => task['id'] !== lastId);
    expect(await lab.explain(id)).toMatchObject({
      state: 'provisioning',
      waiting_on: `node task ${prepare}`,
      node_task: { ...firstAttempt, kind: prepare, state: 'offered' },
    });
    await released(id);
  });

  it('a node that is cleaned after all attempts failed: the attempts of the cleanup', async () => {
    const node = nodeOf('given-up');
    node.faults([
      { kind: prepare, behaviour: 'fail', times: attempts },
      { kind: cleanup, behaviour: 'hang', delayMs: 2000 },
    ]);
    const id = await created('given-up');
    await until('the cleanup is with the node', async () => {
      const task = (await lab.explain(id))['node_task'] as Record<string, unknown> | null;
      return task?.['kind'] === cleanup && task['state'] === 'offered';
    });
    expect(await lab.explain(id)).toMatchObject({
      state: 'provisioning',
      waiting_on: `node task ${cleanup}`,
      node_task: { ...firstAttempt, kind: cleanup, state: 'offered' },
      node: { id: node.id },
    });
    await lab.untilState(id, 'failed');
    expect(await lab.explain(id)).toMatchObject({ state: 'failed', node_task: phaseOver, node: null });
    expect(await lab.explain(id, 'dev-admin')).toMatchObject({ state: 'failed', node: { id: node.id } });
    await assertNoResidue(lab, [{ id, state: 'failed' }]);
  });

  it('a failed release: its user and an admin can go on, and both really can', async () => {
    const id = await created('not-released');
    await lab.untilState(id, 'active');
    for (const goOn of [lab.release, lab.forceRelease]) {
      nodeOf('not-released').faults([{ kind: cleanup, behaviour: 'fail_permanent' }]);
      expect((await goOn(id)).status).toBe(202);
      await lab.untilState(id, 'release_failed');
      expect(await lab.explain(id)).toMatchObject({
        state: 'release_failed',
        waiting_on: 'a release by its user or a force-release by an admin',
        who_can_unblock: 'admin',
        node_task: { kind: cleanup, state: 'failed', failure_code: (await taskOf(id)).code, ...phaseOver },
        node: { id: nodeOf('not-released').id },
        workflow: { status: 'running', ...stepTaken },
      });
    }
    await released(id);
    expect(await lab.explain(id)).toMatchObject({
      state: 'released',
      waiting_on: null,
      who_can_unblock: 'nobody',
      node_task: { ...phaseOver, failure_code: null },
      node: null,
    });
    // The node may be another tenant's by now: how it is is for admins.
    expect(await lab.explain(id, 'dev-admin')).toMatchObject({ node: { id: nodeOf('not-released').id } });
  });

  it('the engine away: all that Postgres knows, without the run', async () => {
    const id = await created('no-engine');
    await lab.untilState(id, 'active');
    const before = await lab.explain(id);
    expect(before).toMatchObject({ ...waitsForItsUser, workflow: { status: 'running' } });
    await lab.api.stack.parts.temporal.stop();
    // The agent goes on to call.
    const node = {
      id: nodeOf('no-engine').id,
      last_contact_at: expect.any(String),
      silent_for_seconds: null,
    };
    expect(await lab.explain(id)).toEqual({ ...before, node, workflow: null });
    await lab.api.stack.parts.temporal.start();
    await until('the run is told again', async () => (await lab.explain(id))['workflow'] !== null);
    expect(await lab.explain(id)).toEqual({ ...before, node });
    await released(id);
  });
});
