/** Whole lives of an allocation, each from its creation to its end, with a fault on the way. */
import { sql } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import { releaseUpdate } from '../../contracts/allocations/allocation.messages.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { FaultKind, FaultRule, FaultTarget } from '../harness/faults.ts';
import { allocationIdOf, until, type Lab, type LabNode } from '../harness/lab.ts';
import type { Expectation } from '../harness/residue.ts';
import { runsOf } from './continued.ts';

export interface Order {
  readonly target: FaultTarget;
  readonly fault: FaultKind;
}

/** Leads an allocation of the SKU through its life; the fault, if any, is ordered when its activity can come. */
export type Life = (
  lab: Lab,
  sku: string,
  order: Order | undefined,
) => Promise<{ readonly expectation: Expectation; readonly rule: FaultRule | undefined }>;

export type LifeName =
  | 'plain'
  | 'wishAtActivation'
  | 'resumed'
  | 'provisionFails'
  | 'undoFails'
  | 'forced'
  | 'releaseFails'
  | 'refused';

const user = 'dev-user';

const arm = (lab: Lab, id: string, order: Order | undefined): FaultRule | undefined =>
  order === undefined ? undefined : lab.faults.order(id, order.target, order.fault);

/** Asks with one key until it has an answer, as a client does. */
export async function createSurely(lab: Lab, sku: string, key: string = randomUUID()): Promise<string> {
  await until(`${sku} is created`, async () => {
    const { status } = await lab.create({ sku, as: user, key });
    if (status !== 201 && status !== 202 && status !== 503) throw new Error(`creating answered ${status}`);
    return status === 201;
  });
  return allocationIdOf(user, key);
}

/** Releases with one key until the answer is a decided operation. */
export async function releaseSurely(
  lab: Lab,
  id: string,
  how: 'release' | 'forceRelease' = 'release',
): Promise<void> {
  const key = randomUUID();
  await until(`${how} of ${id} is decided`, async () => {
    const { status, body } = await lab[how](id, { key });
    if (status !== 202 && status !== 503)
      throw new Error(`${how} answered ${status} ${JSON.stringify(body)}`);
    return status === 202 && (body as { state?: string }).state === 'accepted';
  });
}

export function nodeOfSku(lab: Lab, sku: string): LabNode {
  const node = [...lab.nodes.values()].find((one) => one.sku === sku);
  if (node === undefined) throw new Error(`no node of ${sku}`);
  return node;
}

/** The id of the allocation that is about to be created, with its fault in place. */
export function beforeCreation(lab: Lab, order: Order | undefined) {
  const key = randomUUID();
  const id = allocationIdOf(user, key);
  return { key, id, rule: arm(lab, id, order) };
}

const plain: Life = async (lab, sku, order) => {
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'active');
  await releaseSurely(lab, id);
  await lab.untilState(id, 'released');
  return { expectation: { id, state: 'released' }, rule };
};

/** Its release is known to the run before it is active: both transitions happen in one workflow task. */
const wishAtActivation: Life = async (lab, sku, order) => {
  const { key, id, rule } = beforeCreation(lab, order);
  const held = lab.faults.hold(id, { activity: 'transitionAllocation', label: 'activated' });
  await createSurely(lab, sku, key);
  await until(`${sku} is about to be active`, () => held.rule.struck());
  const answered = releaseSurely(lab, id);
  await until('the run has its release', async () => {
    const runs = await runsOf(lab, id);
    return runs.some((run) => run.updates.includes(releaseUpdate));
  });
  held.letGo();
  await answered;
  await lab.untilState(id, 'released');
  if (held.rule.failures().length > 0) throw new Error(held.rule.failures().join('\n'));
  return { expectation: { id, state: 'released' }, rule };
};

const resumed: Life = async (lab, sku, order) => {
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'active');
  const rule = arm(lab, id, order);
  const workflowId = allocationWorkflowId(asId(id));
  const first = await lab.temporal.workflow.getHandle(workflowId).describe();
  await lab.temporal.workflow.getHandle(workflowId, first.runId).terminate('a test');
  await until('the run was started again', async () => {
    const now = await lab.temporal.workflow.getHandle(workflowId).describe();
    return now.runId !== first.runId && now.status.name === 'RUNNING' && (rule?.calls() ?? 1) > 0;
  });
  await releaseSurely(lab, id);
  await lab.untilState(id, 'released');
  return { expectation: { id, state: 'released' }, rule };
};

const provisionFails: Life = async (lab, sku, order) => {
  nodeOfSku(lab, sku).faults([{ kind: 'node.allocation_prepare', behaviour: 'fail_permanent' }]);
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'failed');
  return { expectation: { id, state: 'failed' }, rule };
};

const undoFails: Life = async (lab, sku, order) => {
  nodeOfSku(lab, sku).faults([
    { kind: 'node.allocation_prepare', behaviour: 'fail_permanent' },
    { kind: 'node.storage_cleanup', behaviour: 'fail_permanent' },
  ]);
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'failed');
  return { expectation: { id, state: 'failed', quarantined: true }, rule };
};

const forced: Life = async (lab, sku, order) => {
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'active');
  await releaseSurely(lab, id, 'forceRelease');
  await lab.untilState(id, 'released');
  return { expectation: { id, state: 'released' }, rule };
};

const releaseFails: Life = async (lab, sku, order) => {
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'active');
  nodeOfSku(lab, sku).faults([{ kind: 'node.allocation_cleanup', behaviour: 'fail_permanent' }]);
  await releaseSurely(lab, id);
  await lab.untilState(id, 'release_failed');
  await releaseSurely(lab, id);
  await lab.untilState(id, 'released');
  return { expectation: { id, state: 'released' }, rule };
};

/** Two releases that the API both lets through; the workflow can take only one. */
const refused: Life = async (lab, sku, order) => {
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'active');
  const rule = arm(lab, id, order);
  const transition = lab.faults.hold(id, { activity: 'transitionAllocation', label: 'release_requested' });
  const cleanup = lab.faults.hold(id, { activity: 'runNodeTask', label: 'node.allocation_cleanup' });
  const first = lab.release(id);
  await until('the first release is under way', () => transition.rule.struck());
  const second = lab.release(id);
  await until('the second release is under way', async () => (await openReleases(lab, id)) === 2);
  transition.letGo();
  await until('the second release is refused', async () => (await refusedReleases(lab, id)) === 1);
  cleanup.letGo();
  await Promise.all([first, second]);
  await lab.untilState(id, 'released');
  return { expectation: { id, state: 'released' }, rule };
};

async function openReleases(lab: Lab, id: string): Promise<number> {
  const found = await lab.db.q.execute<{ count: number }>(
    sql`select count(*)::int as count from operations where entity_id = ${id}::uuid and state = 'open'`,
  );
  return found.rows[0]?.count ?? 0;
}

async function refusedReleases(lab: Lab, id: string): Promise<number> {
  const found = await lab.db.q.execute<{ count: number }>(
    sql`select count(*)::int as count from operations where entity_id = ${id}::uuid and state = 'refused'
        and outcome->>'code' = 'allocation_already_releasing'`,
  );
  return found.rows[0]?.count ?? 0;
}

export const lives: Readonly<Record<LifeName, Life>> = {
  plain,
  wishAtActivation,
  resumed,
  provisionFails,
  undoFails,
  forced,
  releaseFails,
  refused,
};
