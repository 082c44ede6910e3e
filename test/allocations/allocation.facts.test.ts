/** What a life leaves for others to read: events, ids and what the engine shows, held against the rows. */
import { randomUUID } from 'node:crypto';
import { asc, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationChannels } from '../../contracts/allocations/allocation.events.ts';
import type { SchedulerType } from '../../contracts/allocations/allocation.messages.ts';
import { messageSchema, type AnyChannel } from '../../contracts/envelope.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import type { AllocationRow } from '../../db/allocations/allocation.schema.ts';
import { nodeTasks, operations, timeline } from '../../db/schema.ts';
import { readEventTrail } from '../../workers/relay/trail.ts';
import { field } from '../harness/api.ts';
import { allocationIdOf, startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { nodeOfSku } from './lives.ts';

const user = 'dev-user';
type Step = typeof timeline.$inferSelect;

interface Life {
  readonly id: string;
  readonly correlationId: string;
  readonly schedulerType: SchedulerType;
}

let lab: Lab;
let home: { orgId: string; projectId: string };
const seenSubjects = new Set<string>();

beforeAll(async () => {
  lab = await startLab({ nodes: ['plain', 'forced', 'unprepared', 'unreleased'] });
  const personal = await lab.request('GET', '/api/v1/auth/personal', { as: user });
  const project = field(personal, 'default_project') as { id: string };
  home = { orgId: String(field(personal, 'org_id')), projectId: project.id };
});
afterAll(() => lab.stop());

async function begin(sku: string, schedulerType: SchedulerType): Promise<Life> {
  const key = randomUUID();
  const correlationId = `facts-${sku}-${randomUUID()}`;
  const body = { project_id: home.projectId, sku, scheduler_type: schedulerType };
  const headers = { 'x-correlation-id': correlationId };
  await until(`${sku} is created`, async () => {
    const answer = await lab.request('POST', '/api/v1/allocations', { as: user, key, body, headers });
    expect(answer.headers.get('x-correlation-id')).toBe(correlationId);
    return answer.status === 201;
  });
  return { id: allocationIdOf(user, key), correlationId, schedulerType };
}

/** Orders an end under a correlation id. */
async function end(life: Life, reason: string, forced = false, correlationId = life.correlationId) {
  const [as, at] = forced
    ? (['dev-admin', `/api/v1/admin/allocations/${life.id}/force-release`] as const)
    : ([user, `/api/v1/allocations/${life.id}/release`] as const);
  const headers = { 'x-correlation-id': correlationId };
  const answer = await lab.request('POST', at, { as, headers, body: { reason } });
  expect([answer.status, answer.headers.get('x-correlation-id')]).toEqual([202, correlationId]);
  return String(field(answer, 'id'));
}

async function rowOf(id: string): Promise<AllocationRow> {
  const row = await lab.row(id);
  if (row === undefined) throw new Error(`no row ${id}`);
  return row;
}

const stepsOf = (id: string): Promise<Step[]> =>
  lab.db.q.select().from(timeline).where(eq(timeline.entityId, id)).orderBy(asc(timeline.seq));

const iso = (at: Date | null): string => at?.toISOString() ?? 'never';

/** Subject and payload of every event that a step of the timeline stands for. */
function promisedBy(step: Step, row: AllocationRow, life: Life): [string, object][] {
  const about = { allocation_id: life.id, user_id: subjectOf(user), project_id: home.projectId };
  const { user_id, project_id } = about;
  const { reason } = step;
  const releasing: [string, object] = ['gpuaas.provisioning.releasing.requested', { ...about, reason }];
  const byEvent: Record<string, [string, object][]> = {
    requested: [
      [
        'gpuaas.provisioning.requested',
        { ...about, node_id: row.nodeId, org_id: home.orgId, scheduler_type: life.schedulerType },
      ],
    ],
    provisioning_started: [],
    activated: [
      ['gpuaas.provisioning.active', { ...about, node_id: row.nodeId, active_at: iso(row.activeAt) }],
    ],
    provision_failed: [['gpuaas.provisioning.failed', { ...about, reason }]],
    release_requested: [releasing],
    force_release_requested: [
      [
        'gpuaas.provisioning.force_release_requested',
        { user_id, project_id, reason, allocation_ids: [life.id] },
      ],
      releasing,
    ],
    released: [['gpuaas.provisioning.releasing.completed', { ...about, released_at: iso(row.releasedAt) }]],
    release_failed: [['gpuaas.provisioning.release_failed', { ...about, reason }]],
  };
  return byEvent[step.event] ?? [];
}

/** Every message of an allocation, value by value, and in order. */
async function expectEvents(life: Life): Promise<void> {
  const row = await rowOf(life.id);
  const steps = await stepsOf(life.id);
  const promised = steps.flatMap((step) =>
    promisedBy(step, row, life).map(([subject, payload]) => ({
      subject,
      event_type: subject,
      occurred_at: iso(step.at),
      version: '1.0',
      correlation_id: step.correlationId,
      payload,
    })),
  );
  const trail = await readEventTrail(lab.nc, {
    entityId: life.id,
    expected: promised.length,
    timeoutMs: 15_000,
  });
  const told = trail.map(({ subject, envelope }) => {
    const { event_id: _, ...rest } = envelope;
    return { subject, ...rest };
  });
  expect(told).toEqual(promised);
  for (const { subject, messageId, envelope } of trail) {
    seenSubjects.add(subject);
    expect(messageId).toBe(envelope.event_id);
    const channel: AnyChannel | undefined = allocationChannels.find((one) => one.subject === subject);
    expect(
      channel === undefined ? undefined : messageSchema(channel).safeParse(envelope).error,
    ).toBeUndefined();
  }
  expect(new Set(trail.map(({ messageId }) => messageId)).size).toBe(trail.length);
}

/** The id that the client gave is wherever somebody would look for it. */
async function expectCorrelation(life: Life, others: Readonly<Record<string, string>> = {}): Promise<void> {
  const { id, correlationId } = life;
  expect((await rowOf(id)).correlationId).toBe(correlationId);
  const shown = await lab.request('GET', `/api/v1/allocations/${id}/timeline`, { as: user });
  const entries = field(shown, 'items') as { event: string; correlation_id: string }[];
  expect(entries.length).toBeGreaterThan(0);
  for (const entry of entries) expect(entry.correlation_id).toBe(others[entry.event] ?? correlationId);
  const tasks = await lab.db.q.select().from(nodeTasks).where(eq(nodeTasks.allocationId, id));
  expect(new Set(tasks.map((task) => task.correlationId))).toEqual(new Set([correlationId]));
  const known = await lab.db.q.select().from(operations).where(eq(operations.entityId, id));
  const create = known.find((operation) => operation.kind === 'allocation.create');
  expect(create?.correlationId).toBe(correlationId);
  const ends = [...new Set([correlationId, ...Object.values(others)])];
  expect(new Set(known.map((operation) => operation.correlationId))).toEqual(new Set(ends));
}

/** The lines that the API wrote about requests under a correlation id. */
const requestsUnder = (correlationId: string): Record<string, unknown>[] =>
  lab.api.log
    .filter((line) => line.includes(correlationId))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['message'] === 'request');

const runOf = (id: string) => lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id)));

async function expectSearchable(life: Life, state: string): Promise<void> {
  const row = await rowOf(life.id);
  const wanted = {
    OrgId: [home.orgId],
    ProjectId: [home.projectId],
    NodeId: [row.nodeId],
    Kind: ['allocation'],
    State: [state],
    CorrelationId: [life.correlationId],
  };
  await until(
    `the run says ${state}`,
    async () => {
      const { searchAttributes } = await runOf(life.id).describe();
      return Object.entries(wanted).every(
        ([name, value]) => JSON.stringify(searchAttributes[name]) === JSON.stringify(value),
      );
    },
    { withinMs: 45_000, state: async () => (await runOf(life.id).describe()).searchAttributes },
  );
}

/** The engine's page and `explain` name the same wait. @returns it. */
async function expectSameWait(id: string): Promise<unknown> {
  const told = await lab.explain(id);
  const metadata = await runOf(id).query<{ currentDetails?: string }>('__temporal_workflow_metadata');
  const waitsFor = /^waits for: (.*)$/m.exec(metadata.currentDetails ?? '')?.[1];
  expect(waitsFor).toBe(told['waiting_on'] ?? 'nothing');
  // Of its first transition, which travels with the first task, the run learns by the verdict on that task.
  if (told['state'] !== 'provisioning')
    expect(metadata.currentDetails).toContain(`**${String(told['state'])}**`);
  expect(metadata.currentDetails).toContain((await rowOf(id)).nodeId);
  return told['waiting_on'];
}

const untilOffered = (id: string, kind: NodeTaskKind) =>
  until(`${kind} is offered`, async () => {
    const tasks = await lab.db.q.select().from(nodeTasks).where(eq(nodeTasks.allocationId, id));
    return tasks.some((task) => task.kind === kind && task.state === 'offered');
  });

describe('every fact of', () => {
  it('a plain life', async () => {
    nodeOfSku(lab, 'plain').faults([
      { kind: 'node.allocation_prepare', behaviour: 'hang', delayMs: 2000 },
      { kind: 'node.gpu_scrub', behaviour: 'hang', delayMs: 2000 },
    ]);
    const life = await begin('plain', 'slurm');
    await untilOffered(life.id, 'node.allocation_prepare');
    expect(await expectSameWait(life.id)).toBe('node task node.allocation_prepare');
    await lab.untilState(life.id, 'active');
    await expectSearchable(life, 'active');
    expect(await expectSameWait(life.id)).toBe('a release');
    expect(await (await runOf(life.id).describe()).staticSummary()).toBe(`allocation ${life.id}`);
    await end(life, 'enough of it');
    await untilOffered(life.id, 'node.gpu_scrub');
    await expectSearchable(life, 'releasing');
    expect(await expectSameWait(life.id)).toBe('node task node.gpu_scrub');
    const row = await lab.untilState(life.id, 'released');
    await expectSearchable(life, 'released');
    expect(await expectSameWait(life.id)).toBeNull();
    expect(row).toMatchObject({ ...home, userId: subjectOf(user), schedulerType: 'slurm', sku: 'plain' });
    const steps = await stepsOf(life.id);
    // The clock is read once for each column, so the two may be a moment apart.
    const secondsOff = (event: string, at: Date | null) =>
      ((steps.find((step) => step.event === event)?.at.getTime() ?? 0) - (at?.getTime() ?? 0)) / 1000;
    expect(secondsOff('activated', row.activeAt)).toBeCloseTo(0, 1);
    expect(secondsOff('released', row.releasedAt)).toBeCloseTo(0, 1);
    expect(steps.find((step) => step.event === 'release_requested')?.reason).toBe('enough of it');
    await expectEvents(life);
    await expectCorrelation(life);
    const lines = requestsUnder(life.correlationId);
    const about = { user_id: subjectOf(user) };
    expect(lines.find((line) => line['operation'] === 'createAllocation')).toMatchObject(about);
    expect(lines.find((line) => line['operation'] === 'releaseAllocation')).toMatchObject({
      ...about,
      status: 202,
    });
    // The agent passes it on too.
    expect(lines.filter((line) => line['operation'] === 'postTaskResult')).toHaveLength(5);
  });

  it('a forced end, under the correlation id of whoever forced it', async () => {
    const life = await begin('forced', 'k8s');
    await lab.untilState(life.id, 'active');
    const forcedBy = `facts-admin-${randomUUID()}`;
    const operationId = await end(life, 'maintenance of the rack', true, forcedBy);
    await lab.untilState(life.id, 'released');
    await expectSearchable(life, 'released');
    await expectEvents(life);
    await expectCorrelation(life, { force_release_requested: forcedBy });
    const [forced] = await lab.db.q.select().from(operations).where(eq(operations.id, operationId));
    expect(forced).toMatchObject({ correlationId: forcedBy, entityId: life.id, state: 'accepted' });
    const reasons = (await stepsOf(life.id)).map((step) => [step.event, step.reason]);
    expect(reasons).toContainEqual(['force_release_requested', 'maintenance of the rack']);
    const logged = requestsUnder(forcedBy);
    expect(logged).toMatchObject([
      { operation: 'adminForceReleaseAllocation', status: 202, user_id: subjectOf('dev-admin') },
    ]);
  });

  it('a node that does not prepare', async () => {
    nodeOfSku(lab, 'unprepared').faults([{ kind: 'node.allocation_prepare', behaviour: 'fail_permanent' }]);
    const life = await begin('unprepared', 'ray');
    const row = await lab.untilState(life.id, 'failed');
    expect([row.failureReason, row.activeAt, row.releasedAt]).toEqual(['fault_injected', null, null]);
    const last = (await stepsOf(life.id)).at(-1);
    expect([last?.event, last?.reason]).toEqual(['provision_failed', 'fault_injected']);
    await expectSearchable(life, 'failed');
    await expectEvents(life);
    await expectCorrelation(life);
  });

  it('a release that fails and is taken up again', async () => {
    const life = await begin('unreleased', 'bare_metal');
    await lab.untilState(life.id, 'active');
    nodeOfSku(lab, 'unreleased').faults([{ kind: 'node.storage_cleanup', behaviour: 'fail_permanent' }]);
    await end(life, 'first try');
    const row = await lab.untilState(life.id, 'release_failed');
    expect(row).toMatchObject({ failureReason: 'fault_injected', releasedAt: null });
    await expectSearchable(life, 'release_failed');
    expect(await expectSameWait(life.id)).toBe('a release by its user or a force-release by an admin');
    await end(life, 'second try');
    await lab.untilState(life.id, 'released');
    await expectEvents(life);
    await expectCorrelation(life);
  });
});

it('all seven subjects were among them', () => {
  expect([...seenSubjects].sort()).toEqual(allocationChannels.map((channel) => channel.subject).sort());
});
