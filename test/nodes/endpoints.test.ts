/** The two endpoints of the node-agents, asked by hand while real allocations live. No agent takes part. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { get } from 'node:https';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanupSequence } from '../../contracts/nodes/node-task.tasks.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';
import { now } from '../../db/clock.ts';
import { nodeTasks } from '../../db/schema.ts';
import { runsOf } from '../allocations/continued.ts';
import { createSurely, releaseSurely } from '../allocations/lives.ts';
import { field, type ApiAnswer } from '../harness/api.ts';
import { startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { HandMadeNode, isSigned, registerByHand, signedOf, successOf, taskOf } from './hand-made.ts';

let lab: Lab;

beforeAll(async () => {
  // The lab's own node is nobody's business here: every test has a SKU and a node of its own.
  lab = await startLab({ nodes: ['spare'] });
});
afterAll(() => lab.stop());

const outcome = (answer: ApiAnswer) => [answer.status, field(answer, 'code')];

async function storedTask(taskId: string): Promise<NodeTaskRow> {
  const [row] = await lab.db.q.select().from(nodeTasks).where(eq(nodeTasks.id, taskId));
  if (row === undefined) throw new Error(`no task ${taskId}`);
  return row;
}

/** An allocation whose first task the node holds. */
async function preparing() {
  const node = await registerByHand(lab);
  const id = await createSurely(lab, node.sku);
  const signed = await node.offered();
  return { node, id, signed, task: taskOf(signed) };
}

async function endByHand(node: HandMadeNode, id: string): Promise<void> {
  await releaseSurely(lab, id);
  await node.workUntil(id, 'released');
}

async function registerKey(): Promise<string> {
  const { publicKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const part = (bytes: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const line = `ssh-ed25519 ${Buffer.concat([part(Buffer.from('ssh-ed25519')), part(raw)]).toString('base64')}`;
  const made = await lab.request('POST', '/api/v1/ssh-keys', {
    as: 'dev-user',
    body: { name: `key-${randomUUID()}`, public_key: line },
  });
  expect(made.status).toBe(201);
  return line;
}

describe('polling', () => {
  it('is served to those alone who know the authority', async () => {
    const failure = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      get(`${lab.api.api.internalUrl}/internal/v1/nodes/${randomUUID()}/tasks/wait`, () =>
        reject(new Error('answered without the authority')),
      ).once('error', resolve);
    });
    expect(failure.code).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  });

  it('gives each task of a life signed, complete and exact', async () => {
    const key = await registerKey();
    const personal = await lab.request('GET', '/api/v1/auth/personal', { as: 'dev-user' });
    const { username, uid, gid } = field(personal, 'posix') as { username: string; uid: number; gid: number };
    const node = await registerByHand(lab);
    const id = await createSurely(lab, node.sku);
    const worked = await node.workUntil(id, 'active');
    await releaseSurely(lab, id);
    worked.push(...(await node.workUntil(id, 'released')));
    const paths = [`/home/${username}`, `/scratch/${id}`, `/mnt/gpuaas/${id}`];
    const about = { allocation_id: id, reason: 'release' };
    const tenant = { user_id: subjectOf('dev-user'), username, uid, gid };
    const tasks = worked.map(taskOf);
    expect(tasks.map((task) => [task.kind, task.params])).toEqual([
      [
        'node.allocation_prepare',
        { ...about, ...tenant, reason: 'provisioning', authorized_keys: [key], gpu_slots: [0, 1] },
      ],
      ['node.allocation_cleanup', { ...about, username, uid }],
      ['node.gpu_scrub', { ...about, mode: 'reset', container_runtime: 'none' }],
      ['node.storage_cleanup', { ...about, paths, delete_empty_dirs: true }],
      [
        'node.validate_clean',
        { ...about, paths, checks: ['gpu_processes', 'runtime_containers', 'mounts', 'paths'] },
      ],
    ]);
    const row = await lab.row(id);
    for (const task of tasks) {
      expect(task).toMatchObject({ node_id: node.id, allocation_id: id, correlation_id: row?.correlationId });
      const secondsToLive = (Date.parse(task.expires_at) - Date.parse(task.issued_at)) / 1000;
      expect(secondsToLive).toBeCloseTo(600, 0);
    }
    expect(tasks.map((task) => task.fence)).toEqual([1, 2, 3, 4, 5]);
    expect(tasks.slice(1).map((task) => task.kind)).toEqual([...cleanupSequence]);
    for (const signed of worked) {
      expect(await isSigned(lab, signed)).toBe(true);
      expect(await isSigned(lab, { ...signed, payload: `${signed.payload} ` })).toBe(false);
    }
  });

  it('offers again what is not named, and does not offer what is', async () => {
    const { node, id, signed, task } = await preparing();
    const again = await node.poll();
    expect(signedOf(again)).toEqual([signed]);
    expect(field(again, 'cancel')).toEqual([]);
    const named = await node.poll({ running: [task.task_id] });
    expect([signedOf(named), field(named, 'cancel')]).toEqual([[], []]);
    expect(signedOf(await node.poll())).toEqual([signed]);
    await node.workUntil(id, 'active');
    expect(signedOf(await node.poll())).toEqual([]);
    await endByHand(node, id);
  });

  it('has unknown, foreign and superseded tasks stopped, and no others', async () => {
    const { node, id, task } = await preparing();
    const other = await preparing();
    const unknown = randomUUID();
    const mixed = await node.poll({ running: [unknown, task.task_id, other.task.task_id] });
    expect(new Set(field(mixed, 'cancel') as string[])).toEqual(new Set([unknown, other.task.task_id]));
    await releaseSurely(lab, id, 'forceRelease');
    await until(
      'the task is superseded',
      async () => (await storedTask(task.task_id)).state === 'superseded',
    );
    const after = await node.poll({ running: [task.task_id] });
    expect(field(after, 'cancel')).toEqual([task.task_id]);
    expect(signedOf(after).map((signed) => taskOf(signed).kind)).toEqual(['node.allocation_cleanup']);
    expect(outcome(await node.post(task.task_id, successOf(task)))).toEqual([409, 'node_task_fenced']);
    expect((await storedTask(task.task_id)).verdict).toBeNull();
    await node.workUntil(id, 'released');
    await other.node.workUntil(other.id, 'active');
    await endByHand(other.node, other.id);
  });

  it('answers a held poll as soon as there is work', async () => {
    const node = await registerByHand(lab);
    const heldSeconds = 30;
    let answered = false;
    const held = node.poll({ holdSeconds: heldSeconds }).finally(() => (answered = true));
    // A later poll that was answered shows that the held one has looked, and waits.
    await node.poll({ holdSeconds: 1 });
    expect(answered).toBe(false);
    const id = await createSurely(lab, node.sku);
    const [signed] = signedOf(await held);
    if (signed === undefined) throw new Error('the hold ended without the task');
    const task = taskOf(signed);
    expect(task.allocation_id).toBe(id);
    const row = await storedTask(task.task_id);
    const waitedMs = (row.offeredAt?.getTime() ?? Infinity) - row.createdAt.getTime();
    expect(waitedMs).toBeLessThan((heldSeconds * 1000) / 10);
    await node.workUntil(id, 'active');
    await endByHand(node, id);
  });

  it('looks by itself soon after a report, should the wake of the next task be lost', async () => {
    const { node, id, task } = await preparing();
    await node.workUntil(id, 'active');
    const heldSeconds = 30;
    const held = node.poll({ holdSeconds: heldSeconds });
    // Nobody is woken by this row.
    const lost = { ...(await storedTask(task.task_id)), id: randomUUID(), activityId: randomUUID() };
    const [row] = await lab.db.q
      .insert(nodeTasks)
      .values({
        ...lost,
        fence: lost.fence + 1,
        state: 'queued',
        verdict: null,
        result: null,
        resultAt: null,
        completedAt: null,
        offeredAt: null,
        createdAt: now,
      })
      .returning();
    const [signed] = signedOf(await held);
    if (signed === undefined || row === undefined) throw new Error('the hold ended without the task');
    expect(taskOf(signed).task_id).toBe(lost.id);
    const { offeredAt } = await storedTask(lost.id);
    expect((offeredAt?.getTime() ?? Infinity) - row.createdAt.getTime()).toBeLessThan(
      (heldSeconds * 1000) / 3,
    );
    expect((await node.post(lost.id, successOf(taskOf(signed)))).status).toBe(200);
    await endByHand(node, id);
  });
});

describe('reporting', () => {
  it('refuses whoever is not the node', async () => {
    const { node, id, task } = await preparing();
    const stranger = await registerByHand(lab);
    const wrong = randomBytes(32).toString('base64url');
    const refusals = [
      [null, [401, 'token_missing']],
      [wrong, [401, 'token_invalid']],
      [stranger.secret, [403, 'insufficient_permissions']],
    ] as const;
    for (const [token, expected] of refusals) {
      expect(outcome(await node.poll({ token }))).toEqual(expected);
      expect(outcome(await node.post(task.task_id, successOf(task), token))).toEqual(expected);
    }
    const missing = [404, 'node_task_not_found'];
    expect(outcome(await stranger.post(task.task_id, successOf(task)))).toEqual(missing);
    expect(outcome(await node.post(randomUUID(), successOf(task)))).toEqual(missing);
    expect(await storedTask(task.task_id)).toMatchObject({ state: 'offered', verdict: null });
    await node.workUntil(id, 'active');
    await endByHand(node, id);
  });

  it('refuses what is stale or rubbish and goes on waiting', async () => {
    const { node, id, task } = await preparing();
    const good = successOf(task);
    for (const fence of [task.fence + 1, task.fence + 1000]) {
      expect(outcome(await node.post(task.task_id, { ...good, fence }))).toEqual([409, 'node_task_fenced']);
    }
    const rubbish: unknown[] = [
      { outcome: 'rubbish', of: [1, 2, 3] },
      [],
      { ...good, fence: 0 },
      { ...good, more: true },
      { fence: task.fence, outcome: 'succeeded' },
      { fence: task.fence, outcome: 'failed', error: { code: 'Not A Code', message: '', retryable: true } },
      { ...good, result: {} },
      { ...good, result: { ...good.result, more: true } },
      { ...good, result: { ...good.result, allocation_id: randomUUID() } },
      { ...good, result: { task_type: 'node.gpu_scrub', allocation_id: id, scrubbed: true } },
    ];
    for (const body of rubbish) {
      expect(outcome(await node.post(task.task_id, body)), JSON.stringify(body)).toEqual([
        400,
        'validation_error',
      ]);
    }
    expect(await storedTask(task.task_id)).toMatchObject({ state: 'offered', verdict: null, result: null });
    await node.workUntil(id, 'active');
    await releaseSurely(lab, id);
    await answerCleanupWithAgesThatAreNone(node);
    await answerScrubWithTheProofOfAnother(node, id);
    await node.workUntil(id, 'released');
  });

  it('ends a release whose stored age no instant can be made of', async () => {
    const { node, id } = await preparing();
    await node.workUntil(id, 'active');
    await releaseSurely(lab, id);
    const cleanup = taskOf(await node.offered());
    expect((await node.post(cleanup.task_id, successOf(cleanup))).status).toBe(200);
    await lab.db.q
      .update(nodeTasks)
      .set({ result: { ...successOf(cleanup).result, stopped_age_seconds: 1e300 } })
      .where(eq(nodeTasks.id, cleanup.task_id));
    await node.workUntil(id, 'released');
    const row = await lab.row(id);
    expect(row?.stoppedAt).toEqual(row?.activeAt);
  });

  it.each(['node_unreachable', 'node_task_cancelled'])(
    'quotes a node that says %s, which is for the plane to say',
    async (code) => {
      const { node, id, task } = await preparing();
      const error = { code, message: 'nobody is here', retryable: true };
      const report = { fence: task.fence, outcome: 'failed', error };
      const [first] = await runsOf(lab, id);
      expect((await node.post(task.task_id, report)).body).toEqual({ duplicate: false });
      expect((await storedTask(task.task_id)).verdict).toEqual({
        outcome: 'failed',
        failure: { ...error, code: `reported_${code}` },
      });
      const [second] = await node.workUntil(id, 'active');
      expect(second && taskOf(second).kind).toBe('node.allocation_prepare');
      await endByHand(node, id);
      await until('the run has ended', async () => (await runsOf(lab, id))[0]?.status !== 'RUNNING');
      // The first and only one: a run that fails is followed by another.
      expect(await runsOf(lab, id)).toMatchObject([{ runId: first?.runId, status: 'COMPLETED' }]);
    },
  );

  it('keeps the first report, whatever comes after it', async () => {
    const { node, id, task } = await preparing();
    const good = successOf(task);
    const error = { code: 'changed_my_mind', message: 'no', retryable: false };
    const first = await node.post(task.task_id, good);
    const stored = await storedTask(task.task_id);
    expect([first.status, first.body]).toEqual([200, { duplicate: false }]);
    expect(stored).toMatchObject({ verdict: { outcome: 'succeeded' }, result: good.result });
    for (const body of [
      good,
      { fence: task.fence, outcome: 'failed', error },
      { fence: task.fence, outcome: 'cancelled' },
    ]) {
      const repeat = await node.post(task.task_id, body);
      expect([repeat.status, repeat.body]).toEqual([200, { duplicate: true }]);
    }
    const stale = await node.post(task.task_id, { ...good, fence: task.fence + 1 });
    expect(outcome(stale)).toEqual([409, 'node_task_fenced']);
    const { state, verdict, result, resultAt } = await storedTask(task.task_id);
    expect({ state, verdict, result, resultAt }).toEqual({
      state: 'succeeded',
      verdict: stored.verdict,
      result: stored.result,
      resultAt: stored.resultAt,
    });
    await lab.untilState(id, 'active');
    await endByHand(node, id);
  });

  it('is believed while the engine is away, which learns of it later', { timeout: 120_000 }, async () => {
    const { node, id, task } = await preparing();
    await lab.api.stack.parts.temporal.kill();
    const answer = await node.post(task.task_id, successOf(task));
    expect([answer.status, answer.body]).toEqual([200, { duplicate: false }]);
    // The API gives up telling the engine after two seconds: a whole hold later only the reconciler can.
    const idle = await node.poll({ holdSeconds: 3, running: [] });
    expect([signedOf(idle), field(idle, 'cancel')]).toEqual([[], []]);
    const untold = await storedTask(task.task_id);
    expect(untold).toMatchObject({ state: 'succeeded', completedAt: null });
    expect((await lab.row(id))?.state).not.toBe('active');
    await lab.api.stack.parts.temporal.start();
    await lab.untilState(id, 'active');
    await until('the task counts as told', async () => (await storedTask(task.task_id)).completedAt !== null);
    expect(await storedTask(task.task_id)).toMatchObject({
      verdict: untold.verdict,
      resultAt: untold.resultAt,
    });
    await endByHand(node, id);
  });
});

/** The cleanup of a release, whose report is first of ages that no instant can be made of. */
async function answerCleanupWithAgesThatAreNone(node: HandMadeNode): Promise<void> {
  const cleanup = taskOf(await node.offered());
  const good = successOf(cleanup);
  for (const age of [-1, 31_536_000.5, 1e12, 1e300]) {
    const result = { ...good.result, stopped_age_seconds: age };
    const refused = await node.post(cleanup.task_id, { ...good, result });
    expect(outcome(refused), String(age)).toEqual([400, 'validation_error']);
  }
  expect((await storedTask(cleanup.task_id)).verdict).toBeNull();
}

/** Leads the release up to the scrub, whose report is first that of a wipe, then one that proves nothing. */
async function answerScrubWithTheProofOfAnother(node: HandMadeNode, id: string): Promise<void> {
  const cleanup = taskOf(await node.offered());
  expect((await node.post(cleanup.task_id, successOf(cleanup))).status).toBe(200);
  const scrub = taskOf(await node.offered());
  expect(scrub.kind).toBe('node.gpu_scrub');
  const good = successOf(scrub);
  const ofAnother = { task_type: 'node.storage_cleanup', allocation_id: id, cleaned: true };
  const refused = await node.post(scrub.task_id, { ...good, result: ofAnother });
  expect(outcome(refused)).toEqual([400, 'validation_error']);
  expect((await storedTask(scrub.task_id)).verdict).toBeNull();
  const unproven = { task_type: 'node.gpu_scrub', allocation_id: id, scrubbed: false };
  expect((await node.post(scrub.task_id, { ...good, result: unproven })).body).toEqual({ duplicate: false });
  expect((await storedTask(scrub.task_id)).verdict).toMatchObject({
    outcome: 'failed',
    failure: { code: 'gpu_not_scrubbed', retryable: true },
  });
}
