/** What callers, nodes and operators do that nobody hopes for. One lab; each case has nodes of its own. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { field } from '../harness/api.ts';
import { assertNoResidue, startLab, until, type Lab, type NodeFault } from '../harness/lab.ts';
import type { Expectation } from '../harness/residue.ts';
import { createSurely, lives, nodeOfSku, releaseSurely } from './lives.ts';
import { reportsAnswered, untilRefusedLate } from './reports.ts';

const crowd = 10;
const skus = [
  ...Array.from({ length: crowd }, () => 'crowd'),
  ...['cancel', 'at-once', 'held', 'double', 'other', 'not-admin', 'one-key', 'body', 'late', 'stuck'],
  ...['twice', 'slow', 'fence', 'rubbish', 'silent', 'mute', 'failed', 'retry', 'explain', 'down', 'nobody'],
  ...['attempts', 'terminated', 'tardy', 'unseen', 'early', 'orphan'],
];
const slowMs = 120_000;
const reachedSeconds = 8; // of a task that has to reach its node, and then runs out

let lab: Lab;
const ends: Expectation[] = [];
const ended = (id: string, state: Expectation['state'] = 'released'): void => void ends.push({ id, state });

beforeAll(async () => {
  lab = await startLab({ nodes: skus });
});
afterEach(async () => {
  await lab.setPolicy('allocation.task_timeout_seconds', 600);
  await lab.setPolicy('allocation.task_attempts', 3);
  await lab.setPolicy('allocation.task_retry_milliseconds', 20);
});
afterAll(() => lab.stop());

const faults = (sku: string, ...list: NodeFault[]): void => nodeOfSku(lab, sku).faults(list);

async function count(query: ReturnType<typeof sql>): Promise<number> {
  const found = await lab.db.q.execute<{ count: number }>(query);
  return found.rows[0]?.count ?? 0;
}
const rowsOf = (sku: string) => count(sql`select count(*)::int as count from allocations where sku = ${sku}`);
const tasksOf = (id: string, kind: NodeTaskKind | null = null) =>
  count(sql`select count(*)::int as count from node_tasks where allocation_id = ${id}::uuid
    and (${kind}::node_task_kind is null or kind = ${kind})`);

async function activeOn(sku: string): Promise<string> {
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'active');
  return id;
}

async function finish(id: string): Promise<void> {
  await releaseSurely(lab, id);
  await lab.untilState(id, 'released');
  ended(id);
}

/** The task has reached the node, which holds it. */
const offered = (id: string, kind: NodeTaskKind) =>
  until(`${kind} is offered`, async () => {
    const found = sql`select count(*)::int as count from node_tasks
      where allocation_id = ${id}::uuid and kind = ${kind} and state = 'offered'`;
    return (await count(found)) === 1;
  });

describe('ending early', () => {
  it('gives the node back when an operator cancels the run', async () => {
    faults('cancel', { kind: 'node.allocation_prepare', behaviour: 'hang' });
    const id = await createSurely(lab, 'cancel');
    await lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id))).cancel();
    await lab.untilState(id, 'released');
    ended(id);
  });

  it('takes a release that follows the 201 at once', async () => {
    const made = await lab.create({ sku: 'at-once' });
    expect(made.status).toBe(201);
    const answer = await lab.release(made.id);
    expect(answer.status).toBe(202);
    expect((await lab.untilState(made.id, 'released')).activeAt).toBeNull();
    ended(made.id);
  });

  it('takes a release while the node is still preparing', async () => {
    faults('held', { kind: 'node.allocation_prepare', behaviour: 'hang' });
    const id = await createSurely(lab, 'held');
    await offered(id, 'node.allocation_prepare');
    await finish(id);
  });
});

describe('wishes for a run that no worker has seen', () => {
  const runOf = (id: string) => lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id)));

  it('are fulfilled when one comes', { timeout: slowMs }, async () => {
    const orphan = await activeOn('orphan');
    await lab.stopWorker();
    await runOf(orphan).terminate('a test');
    const made = await Promise.all([lab.create({ sku: 'unseen' }), lab.create({ sku: 'early' })]);
    expect(made.map((answer) => answer.status)).toEqual([202, 202]);
    const [unseen, early] = made;
    await runOf(unseen.id).cancel();
    const nothing = await lab.release(early.id);
    expect([nothing.status, field(nothing, 'code')]).toEqual([404, 'allocation_not_found']);
    const waiting = await lab.release(orphan);
    expect([waiting.status, field(waiting, 'state')]).toEqual([202, 'open']);
    for (const id of [orphan, unseen.id, early.id]) {
      expect((await runOf(id).describe()).historyLength).toBeLessThanOrEqual(3);
    }
    await lab.startWorker();
    expect((await lab.untilState(unseen.id, 'released')).activeAt).toBeNull();
    await lab.untilState(orphan, 'released');
    await lab.untilState(early.id, 'active');
    await finish(early.id);
    ended(unseen.id);
    ended(orphan);
  });
});

describe('repeats and strangers', () => {
  it('answers a repeated release the same, and another one with 409', async () => {
    const id = await activeOn('double');
    faults('double', { kind: 'node.allocation_cleanup', behaviour: 'hang' });
    const key = randomUUID();
    const first = await lab.release(id, { key });
    await lab.untilState(id, 'releasing');
    const again = await lab.release(id, { key });
    expect([first.status, again.status, again.body]).toEqual([202, 202, first.body]);
    const other = await lab.release(id);
    expect([other.status, field(other, 'code')]).toEqual([409, 'allocation_already_releasing']);
    await releaseSurely(lab, id, 'forceRelease');
    await lab.untilState(id, 'released');
    ended(id);
    const late = await lab.release(id);
    expect([late.status, field(late, 'code')]).toEqual([409, 'allocation_not_active']);
  });

  it('hides an allocation from another organisation and refuses a colleague', async () => {
    const id = await activeOn('other');
    const colleague = await lab.release(id, { as: 'peer-user' });
    expect([colleague.status, field(colleague, 'code')]).toEqual([403, 'ownership_required']);
    const stranger = await lab.release(id, { as: 'other-user' });
    expect([stranger.status, field(stranger, 'code')]).toEqual([404, 'allocation_not_found']);
    await finish(id);
  });

  it('refuses a forced release by a user, and writes that down', async () => {
    const id = await activeOn('not-admin');
    const answer = await lab.forceRelease(id, { as: 'dev-user' });
    expect([answer.status, field(answer, 'code')]).toEqual([403, 'admin_required']);
    const refusals = sql`select count(*)::int as count from audit_logs
      where action = 'allocation.force_release' and result = 'refused' and target_id = ${id}`;
    expect(await count(refusals)).toBe(1);
    await finish(id);
  });

  it('admits ten of a hundred for ten nodes', { timeout: slowMs }, async () => {
    const keys = Array.from({ length: crowd * 10 }, () => randomUUID());
    const ask = async (key: string) => {
      let last = await lab.create({ sku: 'crowd', key });
      await until('a decision', async () => {
        if (last.status === 202 || last.status === 503) last = await lab.create({ sku: 'crowd', key });
        return last.status === 201 || last.status === 409;
      });
      return last;
    };
    const answers = await Promise.all(keys.map(ask));
    const made = answers.filter((answer) => answer.status === 201);
    expect(made).toHaveLength(crowd);
    expect(new Set(made.map((answer) => field(answer, 'node_id'))).size).toBe(crowd);
    const codes = answers.filter((answer) => answer.status !== 201).map((answer) => field(answer, 'code'));
    expect(new Set(codes)).toEqual(new Set(['sku_unavailable']));
    expect(await rowsOf('crowd')).toBe(crowd);
    await Promise.all(made.map((answer) => lab.untilState(answer.id, 'active')));
    await Promise.all(made.map((answer) => finish(answer.id)));
  });

  it('makes one allocation of one key that comes twenty times at once', async () => {
    const key = randomUUID();
    await lab.request('GET', '/api/v1/auth/personal', { as: 'dev-user' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => lab.create({ sku: 'one-key', key })));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201]));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    expect(await rowsOf('one-key')).toBe(1);
    const id = answers[0]?.id ?? '';
    await lab.untilState(id, 'active');
    await finish(id);
  });

  it('refuses a key that was used with another body, and starts nothing', async () => {
    const key = randomUUID();
    const first = await lab.create({ sku: 'body', key });
    expect(first.status).toBe(201);
    const second = await lab.create({ sku: 'other', key });
    expect([second.status, field(second, 'code')]).toEqual([409, 'idempotency_key_reused']);
    expect(await rowsOf('other')).toBe(1);
    await lab.untilState(first.id, 'active');
    await finish(first.id);
  });
});

describe('nodes that misbehave', () => {
  it.each([
    ['fence', 'wrong_fence', 409],
    ['rubbish', 'rubbish', 400],
  ] as const)('lives through %s answers, which it refuses', async (sku, behaviour, status) => {
    faults(sku, { kind: 'node.allocation_prepare', behaviour }, { kind: 'node.validate_clean', behaviour });
    const id = await activeOn(sku);
    expect(reportsAnswered(lab, sku, status)).toBe(1);
    await finish(id);
    expect(reportsAnswered(lab, sku, status)).toBe(2);
    expect(await tasksOf(id)).toBe(5);
  });

  it('lives through answers that come twice, and believes the first', async () => {
    const behaviour = 'answer_twice';
    faults(
      'twice',
      { kind: 'node.allocation_prepare', behaviour },
      { kind: 'node.validate_clean', behaviour },
    );
    const id = await activeOn('twice');
    await until('the second answer about the first task', () => reportsAnswered(lab, 'twice', 200) >= 2);
    expect(await tasksOf(id)).toBe(1);
    await finish(id);
    await until('the second answer about the last task', () => reportsAnswered(lab, 'twice', 200) >= 7);
    expect(await tasksOf(id)).toBe(5);
  });

  it('fails what a node prepares too late, and refuses its answer', async () => {
    await lab.setPolicy('allocation.task_timeout_seconds', reachedSeconds);
    faults('slow', { kind: 'node.allocation_prepare', behaviour: 'answer_late', delayMs: slowMs });
    const id = await createSurely(lab, 'slow');
    expect((await lab.untilState(id, 'failed')).failureReason).toBe('node_unreachable');
    await untilRefusedLate(lab, 'slow', id, 'node.allocation_prepare');
    ended(id, 'failed');
  });

  it('fails the release that a node proves too late, and refuses its answer', async () => {
    await lab.setPolicy('allocation.task_timeout_seconds', reachedSeconds);
    const id = await activeOn('tardy');
    faults('tardy', { kind: 'node.validate_clean', behaviour: 'answer_late', delayMs: slowMs });
    await releaseSurely(lab, id);
    expect((await lab.untilState(id, 'release_failed')).failureReason).toBe('node_unreachable');
    await untilRefusedLate(lab, 'tardy', id, 'node.validate_clean');
    await finish(id);
  });

  it('fails the allocation of a node that never prepares, and proves the node clean', async () => {
    await lab.setPolicy('allocation.task_timeout_seconds', 2);
    faults('silent', { kind: 'node.allocation_prepare', behaviour: 'never' });
    const id = await createSurely(lab, 'silent');
    const row = await lab.untilState(id, 'failed');
    expect(row.failureReason).toBe('node_unreachable');
    ended(id, 'failed');
  });

  it('fails the release on a node that never cleans, and takes it up again for its user', async () => {
    await lab.setPolicy('allocation.task_timeout_seconds', 2);
    const id = await activeOn('mute');
    faults('mute', { kind: 'node.allocation_cleanup', behaviour: 'never' });
    await releaseSurely(lab, id);
    expect((await lab.untilState(id, 'release_failed')).failureReason).toBe('node_unreachable');
    await finish(id);
  });

  it('does not send a task that a stalled worker comes back with when all is over', async () => {
    await lab.setPolicy('allocation.task_timeout_seconds', 2);
    await lab.setPolicy('allocation.task_retry_milliseconds', 3000);
    faults('late', { kind: 'node.allocation_prepare', behaviour: 'fail' });
    const made = await lab.create({ sku: 'late' });
    await until('the first attempt has failed', async () => {
      const failed = sql`select count(*)::int as count from node_tasks
        where allocation_id = ${made.id}::uuid and state = 'failed'`;
      return (await count(failed)) === 1;
    });
    const stalled = lab.faults.hold(made.id, { activity: 'runNodeTask', label: 'node.allocation_prepare' });
    await lab.untilState(made.id, 'failed');
    stalled.letGo();
    await stalled.rule.settled();
    expect(stalled.rule.struck()).toBe(true);
    expect(stalled.rule.failures()).not.toEqual([]);
    expect(await tasksOf(made.id, 'node.allocation_prepare')).toBe(1);
    ended(made.id, 'failed');
  });
});

describe('forced releases', () => {
  it('free a node that hangs in its cleanup', async () => {
    const id = await activeOn('stuck');
    faults('stuck', { kind: 'node.gpu_scrub', behaviour: 'hang' });
    await releaseSurely(lab, id);
    await offered(id, 'node.gpu_scrub');
    await releaseSurely(lab, id, 'forceRelease');
    await lab.untilState(id, 'released');
    ended(id);
  });

  it.each([
    ['failed', 'forceRelease'],
    ['retry', 'release'],
  ] as const)('and a %s release is taken up again', async (sku, how) => {
    const id = await activeOn(sku);
    faults(sku, { kind: 'node.storage_cleanup', behaviour: 'fail_permanent' });
    await releaseSurely(lab, id);
    await lab.untilState(id, 'release_failed');
    await releaseSurely(lab, id, how);
    await lab.untilState(id, 'released');
    ended(id);
  });
});

it('explains each wait by what causes it', async () => {
  const about = async (id: string) => {
    const told = await lab.explain(id);
    const task = told['node_task'] as { kind: string } | null;
    return [told['state'], told['waiting_on'], told['who_can_unblock'], task?.kind];
  };
  faults('explain', { kind: 'node.allocation_prepare', behaviour: 'hang', delayMs: 2000 });
  const id = await createSurely(lab, 'explain');
  const prepare = 'node.allocation_prepare';
  await offered(id, prepare);
  expect(await about(id)).toEqual(['provisioning', `node task ${prepare}`, 'node', prepare]);
  const workflow = (await lab.explain(id))['workflow'] as Record<string, unknown>;
  expect(workflow['status']).toBe('running');
  expect(workflow['pending_activities']).toMatchObject([{ type: 'runNodeTask' }]);
  await lab.untilState(id, 'active');
  expect(await about(id)).toEqual(['active', 'a release', 'user', prepare]);
  faults('explain', { kind: 'node.gpu_scrub', behaviour: 'fail_permanent' });
  await releaseSurely(lab, id);
  await lab.untilState(id, 'release_failed');
  const wait = 'a release by its user or a force-release by an admin';
  expect(await about(id)).toEqual(['release_failed', wait, 'admin', 'node.gpu_scrub']);
  faults('explain', { kind: 'node.storage_cleanup', behaviour: 'hang', delayMs: 2000 });
  await releaseSurely(lab, id);
  await offered(id, 'node.storage_cleanup');
  expect(await about(id)).toEqual([
    'releasing',
    'node task node.storage_cleanup',
    'node',
    'node.storage_cleanup',
  ]);
  await lab.untilState(id, 'released');
  expect(await about(id)).toEqual(['released', null, 'nobody', 'node.validate_clean']);
  ended(id);
});

describe('a plane in pieces', () => {
  it('says 503 while the engine is away, and stores nothing twice', { timeout: slowMs }, async () => {
    const key = randomUUID();
    await lab.api.stack.parts.temporal.kill();
    const refused = await lab.create({ sku: 'down', key });
    expect([refused.status, field(refused, 'code')]).toEqual([503, 'service_unavailable']);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(await rowsOf('down')).toBe(0);
    await lab.api.stack.parts.temporal.start();
    const id = await createSurely(lab, 'down', key);
    expect(await rowsOf('down')).toBe(1);
    expect(await count(sql`select count(*)::int as count from operations where key = ${key}`)).toBe(1);
    await lab.untilState(id, 'active');
    await finish(id);
  });

  it('accepts while no worker runs, and gives the same key its 201 later', { timeout: slowMs }, async () => {
    const key = randomUUID();
    await lab.stopWorker();
    const waiting = await lab.create({ sku: 'nobody', key });
    expect([waiting.status, field(waiting, 'state')]).toEqual([202, 'open']);
    expect(waiting.headers.get('location')).toBe(`/api/v1/operations/${String(field(waiting, 'id'))}`);
    await lab.startWorker();
    const id = await createSurely(lab, 'nobody', key);
    await lab.untilState(id, 'active');
    await finish(id);
  });

  it('lets a changed policy count from the next allocation on', async () => {
    await lab.setPolicy('allocation.task_attempts', 1);
    faults('attempts', { kind: 'node.allocation_prepare', behaviour: 'fail' });
    const first = await createSurely(lab, 'attempts');
    await lab.untilState(first, 'failed');
    expect(await tasksOf(first, 'node.allocation_prepare')).toBe(1);
    ended(first, 'failed');
    await lab.setPolicy('allocation.task_attempts', 2);
    faults('attempts', { kind: 'node.allocation_prepare', behaviour: 'fail' });
    const second = await activeOn('attempts');
    expect(await tasksOf(second, 'node.allocation_prepare')).toBe(2);
    await finish(second);
  });

  it('takes up a run that somebody terminated', async () => {
    ends.push((await lives.resumed(lab, 'terminated', undefined)).expectation);
  });
});

it('leaves nothing behind', async () => {
  const examined = await assertNoResidue(lab, ends);
  process.stdout.write(`examined: ${JSON.stringify(examined)}\n`);
});
