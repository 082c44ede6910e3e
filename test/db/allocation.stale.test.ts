import { sql } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRedis } from '../../activities/platform/redis.ts';
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import type { ReleaseCommand } from '../../contracts/allocations/allocation.messages.ts';
import { asId, type AllocationId } from '../../contracts/ids.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { findOperation, openOperation } from '../../db/ops/operation.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { provisioningActivities } from '../../workers/compose.ts';
import { createTestDatabase, stackEnv, type TestDatabase } from '../harness/stack.ts';

/**
 * A workflow task can be lost after its transition has committed. The next one may then take a wish before it knows of
 * that transition: the row is ahead of the run, and must have the last word.
 */
let database: TestDatabase;
let db: Database;
let redis: Redis;
let activities: ReturnType<typeof provisioningActivities>;

beforeAll(async () => {
  database = await createTestDatabase();
  db = openDatabase({ url: database.appUrl, applicationName: 'test' });
  redis = openRedis(stackEnv('REDIS_URL'), 'test');
  activities = provisioningActivities({ db, redis, policies: createPolicyReader(db.q) });
});
afterAll(async () => {
  redis.disconnect();
  await db.close();
  await database.drop();
});

const ids = () => ({ org: randomUUID(), user: randomUUID(), project: randomUUID(), node: randomUUID() });

/** An allocation whose row stands in `releasing` at version 2. */
async function releasingAllocation(): Promise<AllocationId> {
  const { org, user, project, node } = ids();
  const id = asId<AllocationId>(randomUUID());
  await db.tx(async (tx) => {
    await tx.execute(sql`insert into orgs values (${org}, 'o', false, now())`);
    await tx.execute(sql`insert into users values (${user}, ${org}, now())`);
    await tx.execute(sql`insert into projects values (${project}, ${org}, 'p', 'p', ${user}, now(), now())`);
    await tx.execute(sql`insert into skus (code, title, gpu_model, gpu_count, cpu_cores, memory_gib, price_per_hour_minor,
      currency, created_at) values ('s', 's', 'g', 1, 1, 1, 1, 'USD', now()) on conflict do nothing`);
    await tx.execute(sql`insert into nodes (id, name, sku, state, slot_count, ssh_host, ssh_port, agent_secret_hash,
      created_at) values (${node}, ${node}, 's', 'available', 1, 'h', 22, 'x', now())`);
    await tx.execute(sql`insert into allocations (id, org_id, project_id, user_id, sku, scheduler_type, state, version,
      node_id, create_operation_id, correlation_id, who_can_unblock, created_at, state_since)
      values (${id}, ${org}, ${project}, ${user}, 's', 'bare_metal', 'releasing', 2, ${node}, ${randomUUID()}, 'c', 'node',
      now(), now())`);
  });
  return id;
}

async function command(
  id: AllocationId,
  kind: ReleaseCommand['command'] = 'release',
): Promise<ReleaseCommand> {
  const order: ReleaseCommand = {
    operationId: asId(randomUUID()),
    command: kind,
    actorUserId: asId(randomUUID()),
    actorRole: 'user',
    correlationId: 'c',
  };
  await openOperation(db.q, {
    id: order.operationId,
    caller: order.actorUserId,
    route: 'releaseAllocation',
    key: order.operationId,
    bodyHash: 'h',
    kind: `allocation.${kind}`,
    orgId: randomUUID(),
    entityId: id,
    request: { ...order, reason: 'test' },
    correlationId: 'c',
  });
  return order;
}

const failure = (id: AllocationId): TransitionOrder => ({
  allocationId: id,
  version: 2,
  from: 'releasing',
  event: 'release_failed',
  to: 'release_failed',
  underWay: null,
  correlationId: 'c',
  reason: 'node_unreachable',
  command: null,
  provenClean: false,
});

describe('a run that knows an older state than its row', () => {
  it('does not refuse a release that the row would take', async () => {
    const id = await releasingAllocation();
    await activities.transitionAllocation(failure(id));
    const release = await command(id);
    expect(await activities.refuseCommand({ allocationId: id, command: release })).toBeNull();
    expect(await findOperation(db.q, release.operationId)).toMatchObject({ state: 'open', outcome: null });
  });

  it('is told that its wish is stale, and moves nothing', async () => {
    const id = await releasingAllocation();
    await activities.transitionAllocation(failure(id));
    const force = await command(id, 'force_release');
    const event = 'force_release_requested';
    const stale = { ...failure(id), event, to: 'releasing', reason: null, command: force } as const;
    expect(await activities.transitionAllocation(stale)).toEqual({ kind: 'stale' });
    expect(await findOperation(db.q, force.operationId)).toMatchObject({ state: 'open' });
    const known = { ...stale, version: 3, from: 'release_failed' } as const;
    expect(await activities.transitionAllocation(known)).toMatchObject({
      kind: 'done',
      version: 4,
      state: 'releasing',
    });
    expect(await findOperation(db.q, force.operationId)).toMatchObject({ state: 'accepted' });
  });

  it('still ends when it meets a second writer with anything but a wish', async () => {
    const id = await releasingAllocation();
    await activities.transitionAllocation(failure(id));
    const released = { ...failure(id), event: 'released', to: 'released', provenClean: true } as const;
    await expect(activities.transitionAllocation(released)).rejects.toMatchObject({ nonRetryable: true });
  });

  it('refuses for the state of the row, not its own', async () => {
    const id = await releasingAllocation();
    await activities.transitionAllocation({
      ...failure(id),
      event: 'released',
      to: 'released',
      provenClean: true,
    });
    const release = await command(id);
    const answer = await activities.refuseCommand({ allocationId: id, command: release });
    expect(answer).toEqual({ kind: 'refused', code: 'allocation_not_active' });
  });
});
