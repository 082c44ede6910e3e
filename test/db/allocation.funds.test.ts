import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAllocationActivities } from '../../activities/allocations/allocation.activities.ts';
import type { FundsPort } from '../../activities/allocations/allocation.ports.ts';
import type { Admission, AllocationRequest } from '../../contracts/allocations/allocation.messages.ts';
import { asId, type AllocationId } from '../../contracts/ids.ts';
import { writeAudit } from '../../db/audit.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import * as access from '../../db/identity/access.store.ts';
import * as tasks from '../../db/nodes/node-task.store.ts';
import * as placements from '../../db/nodes/placement.store.ts';
import { findOperation, openOperation } from '../../db/ops/operation.store.ts';
import { createTestDatabase, type TestDatabase } from '../harness/stack.ts';

/**
 * Money is asked for last in an admission, when the node is taken already: a refusal gives everything back and stands
 * under its operation for ever.
 */
const slots = 4;
let database: TestDatabase;
let db: Database;
const org = randomUUID();
const user = randomUUID();
const project = randomUUID();
const node = randomUUID();

beforeAll(async () => {
  database = await createTestDatabase();
  db = openDatabase({ url: database.appUrl, applicationName: 'test' });
  await db.tx(async (tx) => {
    await tx.execute(sql`insert into orgs values (${org}, 'o', false, now())`);
    await tx.execute(sql`insert into users values (${user}, ${org}, now())`);
    await tx.execute(sql`insert into projects values (${project}, ${org}, 'p', 'p', ${user}, now(), now())`);
    await tx.execute(sql`insert into project_members (project_id, user_id, role, added_at)
      values (${project}, ${user}, 'owner', now())`);
    await tx.execute(sql`insert into skus (code, title, gpu_model, gpu_count, cpu_cores, memory_gib, price_per_hour_minor,
      currency, created_at) values ('s', 's', 'g', 1, 1, 1, 1, 'USD', now())`);
    await tx.execute(sql`insert into nodes (id, name, sku, state, slot_count, ssh_host, ssh_port, agent_secret_hash,
      created_at, last_contact_at) values (${node}, 'n', 's', 'available', ${slots}, 'h', 22, 'x', now(), gpuaas_now())`);
  });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});
beforeEach(async () => {
  await db.q.execute(sql`delete from placements`);
});

/** The activities over the real stores and an account that has money or has none. */
function activitiesOver(funds: FundsPort) {
  const budgets = { taskTimeoutSeconds: 60, taskAttempts: 1, taskRetryMilliseconds: 1 };
  const limits = { maxConcurrentPerUser: 10, offlineAfterSeconds: 3600 };
  return createAllocationActivities({
    db,
    identity: access,
    placements,
    funds,
    policies: { allocationBudgets: () => Promise.resolve({ ...budgets, ...limits }) },
    audit: { writeAudit },
    tasks,
    wake: { node: () => undefined, relay: () => undefined },
  });
}

/** What an account without money says, and the slots that were taken when it was asked. */
function withoutMoney() {
  const taken: number[] = [];
  const funds: FundsPort = {
    async hold(tx, _request, allocationId) {
      const found = await tx.execute(sql`select from placements where allocation_id = ${allocationId}::uuid`);
      taken.push(found.rows.length);
      return 'insufficient_balance';
    },
  };
  return { taken, activities: activitiesOver(funds) };
}
const withMoney = () => activitiesOver({ hold: () => Promise.resolve(undefined) });

/** A wish with its operation, not yet decided. */
async function wish(): Promise<{ allocationId: AllocationId; request: AllocationRequest }> {
  const allocationId = asId<AllocationId>(randomUUID());
  const request: AllocationRequest = {
    operationId: asId(randomUUID()),
    orgId: asId(org),
    projectId: asId(project),
    userId: asId(user),
    sku: 's',
    schedulerType: 'bare_metal',
    correlationId: 'c',
  };
  await openOperation(db.q, {
    id: request.operationId,
    caller: user,
    route: 'createAllocation',
    key: request.operationId,
    bodyHash: 'h',
    kind: 'allocation.create',
    orgId: org,
    entityId: allocationId,
    request: { ...request },
    correlationId: 'c',
  });
  return { allocationId, request };
}

async function leftOf(allocationId: AllocationId) {
  const found = await db.q.execute<{ placements: number; allocations: number; outbox: number }>(sql`select
    (select count(*)::int from placements where allocation_id = ${allocationId}::uuid) as placements,
    (select count(*)::int from allocations where id = ${allocationId}::uuid) as allocations,
    (select count(*)::int from outbox where aggregate_id = ${allocationId}) as outbox`);
  return found.rows[0];
}

const unfunded: Admission = {
  kind: 'refused',
  outcome: { kind: 'refused', code: 'insufficient_balance' },
};

describe('an admission that the account cannot carry', () => {
  it('gives back the slots that it had taken, and writes no allocation', async () => {
    const { taken, activities } = withoutMoney();
    const wanted = await wish();
    expect(await activities.admitAllocation(wanted)).toEqual(unfunded);
    expect(taken).toEqual([slots]);
    expect(await leftOf(wanted.allocationId)).toEqual({ placements: 0, allocations: 0, outbox: 0 });
  });

  it('stays refused under its operation, also when there is money later', async () => {
    const { taken, activities } = withoutMoney();
    const wanted = await wish();
    await activities.admitAllocation(wanted);
    expect(await findOperation(db.q, wanted.request.operationId)).toMatchObject({
      state: 'refused',
      outcome: unfunded.outcome,
      decidedAt: expect.any(Date),
    });
    expect(await activities.admitAllocation(wanted)).toEqual(unfunded);
    expect(await withMoney().admitAllocation(wanted)).toEqual(unfunded);
    expect(taken).toHaveLength(1);
    expect(await leftOf(wanted.allocationId)).toEqual({ placements: 0, allocations: 0, outbox: 0 });
  });

  it('leaves the node to the next one', async () => {
    await withoutMoney().activities.admitAllocation(await wish());
    const next = await wish();
    expect(await withMoney().admitAllocation(next)).toMatchObject({
      kind: 'admitted',
      allocation: { nodeId: node },
    });
    expect(await leftOf(next.allocationId)).toEqual({ placements: slots, allocations: 1, outbox: 1 });
  });
});
