/** Commands of which the run may know nothing: the sweep delivers them, and the run catches up with its row. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '@temporalio/client';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import type { ReleaseCommand } from '../../contracts/allocations/allocation.messages.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { findOperation, openOperation } from '../../db/ops/operation.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { provisioningActivities } from '../../workers/compose.ts';
import { deliverCommands } from '../../workers/reconcilers/undelivered-commands.ts';
import { assertNoResidue, startLab, subjectOf, until, type Lab } from '../harness/lab.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: ['never-sent', 'lost-task', 'ended', 'ended-by-force', 'changed-since'] });
});
afterAll(() => lab.stop());

async function activeAllocation(sku: string): Promise<string> {
  const { id, status } = await lab.create({ sku, as: 'dev-user' });
  expect(status).toBe(201);
  await lab.untilState(id, 'active');
  return id;
}

/** What the API stores of a release before it commands the run. */
async function openRelease(id: string, kind: ReleaseCommand['command'] = 'release'): Promise<ReleaseCommand> {
  const byForce = kind === 'force_release';
  const user = subjectOf(byForce ? 'dev-admin' : 'dev-user');
  const key = randomUUID();
  const command: ReleaseCommand = {
    operationId: asId(randomUUID()),
    command: kind,
    actorUserId: asId(user),
    actorRole: byForce ? 'admin' : 'user',
    correlationId: 'undelivered',
  };
  const [row] = (
    await lab.db.q.execute<{ org_id: string }>(sql`select org_id from allocations where id = ${id}`)
  ).rows;
  await openOperation(lab.db.q, {
    id: command.operationId,
    caller: user,
    route: byForce ? 'adminForceReleaseAllocation' : 'releaseAllocation',
    key,
    bodyHash: 'h',
    kind: `allocation.${kind}`,
    orgId: row?.org_id ?? '',
    entityId: id,
    request: { ...command, reason: 'test' },
    correlationId: command.correlationId,
  });
  return command;
}

/** The transition with which the run of an active allocation takes a release. */
const releaseOrder = (id: string, command: ReleaseCommand): TransitionOrder => ({
  allocationId: asId(id),
  version: 3,
  from: 'active',
  event: 'release_requested',
  to: 'releasing',
  underWay: null,
  correlationId: command.correlationId,
  reason: null,
  command,
  provenClean: false,
});

describe('the sweep of undelivered commands', () => {
  it('delivers a release whose API process died before it could', async () => {
    const id = await activeAllocation('never-sent');
    const { operationId } = await openRelease(id);
    expect(await deliverCommands(lab.db, lab.temporal, 3600)).toBe(0);
    expect(await deliverCommands(lab.db, lab.temporal, 0)).toBe(1);
    expect(await findOperation(lab.db.q, operationId)).toMatchObject({ state: 'accepted' });
    await lab.untilState(id, 'released');
    await assertNoResidue(lab, [{ id, state: 'released' }]);
  });

  it('wakes a run whose row moved on without it', async () => {
    const id = await activeAllocation('lost-task');
    const command = await openRelease(id);
    const parts = { db: lab.db, redis: lab.redis, policies: createPolicyReader(lab.db.q) };
    const order = releaseOrder(id, command);
    // The transition of a local activity whose workflow task was lost with the engine.
    expect(await provisioningActivities(parts).transitionAllocation(order)).toMatchObject({ kind: 'done' });
    expect(await findOperation(lab.db.q, command.operationId)).toMatchObject({ state: 'accepted' });
    expect(await deliverCommands(lab.db, lab.temporal, 0)).toBe(1);
    await lab.untilState(id, 'released');
    await assertNoResidue(lab, [{ id, state: 'released' }]);
  });

  it('refuses one that came after the end', async () => {
    const id = await activeAllocation('ended');
    await lab.release(id, {});
    await lab.untilState(id, 'released');
    const { operationId } = await openRelease(id);
    expect(await deliverCommands(lab.db, lab.temporal, 0)).toBe(1);
    expect(await findOperation(lab.db.q, operationId)).toMatchObject({
      outcome: { kind: 'refused', code: 'allocation_not_active' },
    });
  });

  it('refuses a force-release that came after the end with one audit row, however often and by whomever it is swept', async () => {
    const id = await activeAllocation('ended-by-force');
    await lab.release(id, {});
    await lab.untilState(id, 'released');
    const { operationId, actorUserId, correlationId } = await openRelease(id, 'force_release');
    const sweep = () => deliverCommands(lab.db, lab.temporal, 0);
    await Promise.all([sweep(), sweep(), sweep()]);
    expect(await sweep()).toBe(0);
    expect(await findOperation(lab.db.q, operationId)).toMatchObject({
      outcome: { kind: 'refused', code: 'allocation_not_active' },
    });
    expect(await auditOf(id)).toEqual([
      {
        actor_user_id: actorUserId,
        actor_role: 'admin',
        action: 'allocation.force_release',
        result: 'refused',
        correlation_id: correlationId,
        details: { code: 'allocation_not_active' },
      },
    ]);
  });

  it('judges by the state that the row has, not by the one that it had when the sweep began', async () => {
    const id = await activeAllocation('changed-since');
    await lab.stopWorker();
    await lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id))).terminate('lost');
    const parts = { db: lab.db, redis: lab.redis, policies: createPolicyReader(lab.db.q) };
    const { transitionAllocation } = provisioningActivities(parts);
    const first = await openRelease(id);
    const order = releaseOrder(id, first);
    const failed = { version: 4, from: 'releasing', event: 'release_failed', to: 'release_failed' } as const;
    expect(await transitionAllocation(order)).toMatchObject({ kind: 'done' });
    const { operationId } = await openRelease(id);
    const meanwhile = beforeFirstCall(lab.temporal, () =>
      transitionAllocation({ ...order, ...failed, reason: 'node_unreachable', command: null }),
    );
    expect(await deliverCommands(lab.db, meanwhile, 0)).toBe(0);
    expect((await lab.row(id))?.state).toBe('release_failed');
    expect(await findOperation(lab.db.q, operationId)).toMatchObject({ state: 'open' });
    await lab.startWorker();
    await until('the command is accepted', async () => {
      await deliverCommands(lab.db, lab.temporal, 0);
      return (await findOperation(lab.db.q, operationId))?.state === 'accepted';
    });
    await lab.untilState(id, 'released');
    await assertNoResidue(lab, [{ id, state: 'released' }]);
  });
});

/** What the audit log says of an allocation. */
const auditOf = async (id: string) =>
  (
    await lab.db.q.execute(
      sql`select actor_user_id, actor_role, action, result, correlation_id, details from audit_logs
        where target_id = ${id}`,
    )
  ).rows;

/** The client, with something that happens between the reading of a batch and the first command. */
function beforeFirstCall(client: Client, happen: () => Promise<unknown>): Client {
  let happened: Promise<unknown> | undefined;
  const withDeadline: Client['withDeadline'] = async (deadline, call) => {
    await (happened ??= happen());
    return await client.withDeadline(deadline, call);
  };
  return Object.create(client, { withDeadline: { value: withDeadline } }) as Client;
}
