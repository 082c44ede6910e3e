/** The lives whose histories are kept, one for each way through the workflow. */
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { runsOf, type Run } from '../allocations/continued.ts';
import { createSurely, lives, nodeOfSku, releaseSurely } from '../allocations/lives.ts';
import { allocationIdOf, until, type Lab } from '../harness/lab.ts';

/** The run whose history is kept; the last one of the id when none is named. */
export interface Recorded {
  readonly id: string;
  readonly runId?: string;
}

/** Leads one allocation through to its end. */
export type Scenario = (lab: Lab, sku: string) => Promise<Recorded>;

const ended = async (life: Promise<{ readonly expectation: Recorded }>): Promise<Recorded> => ({
  id: (await life).expectation.id,
});

const releaseInProvisioning: Scenario = async (lab, sku) => {
  nodeOfSku(lab, sku).faults([{ kind: 'node.allocation_prepare', behaviour: 'hang' }]);
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'provisioning');
  await releaseSurely(lab, id);
  await lab.untilState(id, 'released');
  return { id };
};

const releaseFailedThenForced: Scenario = async (lab, sku) => {
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'active');
  nodeOfSku(lab, sku).faults([{ kind: 'node.gpu_scrub', behaviour: 'fail_permanent' }]);
  await releaseSurely(lab, id);
  await lab.untilState(id, 'release_failed');
  await releaseSurely(lab, id, 'forceRelease');
  await lab.untilState(id, 'released');
  return { id };
};

const cancelled: Scenario = async (lab, sku) => {
  const id = await createSurely(lab, sku);
  await lab.untilState(id, 'active');
  await lab.temporal.workflow.getHandle(allocationWorkflowId(asId(id))).cancel();
  await lab.untilState(id, 'released');
  return { id };
};

/** Two that the API both lets through to one node: the one that comes second is refused by its run. */
const refusedAdmission: Scenario = async (lab, sku) => {
  const keys = ['refused-1', 'refused-2'].map((key) => `${key}-${sku}`);
  const ids = keys.map((key) => allocationIdOf('dev-user', key));
  const held = ids.map((id) => lab.faults.hold(id, { activity: 'admitAllocation' }));
  const answers = keys.map((key) => lab.create({ sku, key }));
  await until('both wait for admission', () => held.every((one) => one.rule.struck()));
  for (const one of held) one.letGo();
  const refused = (await Promise.all(answers)).find((answer) => answer.status === 409);
  const admitted = ids.find((id) => id !== refused?.id);
  if (refused === undefined || admitted === undefined) throw new Error('nobody was refused');
  await lab.untilState(admitted, 'active');
  await releaseSurely(lab, admitted);
  await lab.untilState(admitted, 'released');
  return { id: refused.id };
};

/** A life through two runs; the engine suggests to continue as soon as the allocation is active. */
const throughTwoRuns =
  (pick: (runs: readonly Run[]) => Run | undefined): Scenario =>
  async (lab, sku) => {
    const id = await createSurely(lab, sku);
    await lab.untilState(id, 'active');
    await until('the next run waits', async () => {
      const [newest, ...older] = await runsOf(lab, id);
      return older.length === 1 && (newest?.events ?? 0) > 4;
    });
    await releaseSurely(lab, id);
    await lab.untilState(id, 'released');
    const runId = pick(await runsOf(lab, id))?.runId;
    if (runId === undefined) throw new Error('no such run');
    return { id, runId };
  };

/** Those for which the engine suggests to continue as new after a few events. */
export const continuedScenarios: Readonly<Record<string, Scenario>> = {
  continued: throughTwoRuns((runs) => runs.at(-1)),
  'after-continuing': throughTwoRuns((runs) => runs[0]),
};

export const scenarios: Readonly<Record<string, Scenario>> = {
  happy: (lab, sku) => ended(lives.plain(lab, sku, undefined)),
  'release-in-provisioning': releaseInProvisioning,
  'provision-failure': (lab, sku) => ended(lives.provisionFails(lab, sku, undefined)),
  'release-failed-forced': releaseFailedThenForced,
  resumed: (lab, sku) => ended(lives.resumed(lab, sku, undefined)),
  cancelled,
  'refused-admission': refusedAdmission,
};
