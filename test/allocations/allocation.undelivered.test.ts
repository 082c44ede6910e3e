/** Commands of which the run may know nothing: the sweep delivers them, and the run catches up with its row. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import type { ReleaseCommand } from '../../contracts/allocations/allocation.messages.ts';
import { asId } from '../../contracts/ids.ts';
import { findOperation, openOperation } from '../../db/ops/operation.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { provisioningActivities } from '../../workers/compose.ts';
import { deliverCommands } from '../../workers/reconcilers/undelivered-commands.ts';
import { assertNoResidue, startLab, subjectOf, type Lab } from '../harness/lab.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: ['never-sent', 'lost-task', 'ended'] });
});
afterAll(() => lab.stop());

async function activeAllocation(sku: string): Promise<string> {
  const { id, status } = await lab.create({ sku, as: 'dev-user' });
  expect(status).toBe(201);
  await lab.untilState(id, 'active');
  return id;
}

/** What the API stores of a release before it commands the run. */
async function openRelease(id: string): Promise<ReleaseCommand> {
  const user = subjectOf('dev-user');
  const key = randomUUID();
  const command: ReleaseCommand = {
    operationId: asId(randomUUID()),
    command: 'release',
    actorUserId: asId(user),
    actorRole: 'user',
    correlationId: 'undelivered',
  };
  const [row] = (
    await lab.db.q.execute<{ org_id: string }>(sql`select org_id from allocations where id = ${id}`)
  ).rows;
  await openOperation(lab.db.q, {
    id: command.operationId,
    caller: user,
    route: 'releaseAllocation',
    key,
    bodyHash: 'h',
    kind: 'allocation.release',
    orgId: row?.org_id ?? '',
    entityId: id,
    request: { ...command, reason: 'test' },
    correlationId: command.correlationId,
  });
  return command;
}

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
    const order: TransitionOrder = {
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
    };
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
});
