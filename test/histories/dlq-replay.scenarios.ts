/** The lives of replays whose histories are kept. Names differ from those of every other lifecycle. */
import { dlqReplayWorkflowId, asId } from '../../contracts/ids.ts';
import { dlqPageLetters } from '../../contracts/ops/dlq-replay.messages.ts';
import type { Lab } from '../harness/lab.ts';
import { asAdmin, orderSurely, plantLetters, untilReplay } from '../ops/letters.ts';
import { lives, type LifeName } from '../ops/lives.ts';
import { field } from '../harness/api.ts';
import type { Scenario } from './scenarios.ts';

const subjectOf = (name: string): string => `trial.${name.replaceAll('-', '_')}`;

const lived =
  (life: LifeName): Scenario =>
  async (lab, name) => ({
    id: (await lives[life](lab, subjectOf(name), undefined)).expectation.replayId,
  });

/** More letters than one run takes. */
async function paged(lab: Lab, name: string): Promise<string> {
  await plantLetters(lab.db, subjectOf(name), 2 * dlqPageLetters + 1);
  const id = await orderSurely(lab, subjectOf(name));
  await untilReplay(lab, id, 'completed');
  return id;
}

const dryRun: Scenario = async (lab, name) => {
  const body = { filter: { subject: subjectOf(name) }, dry_run: true, reason: 'a count' };
  return { id: String(field(await asAdmin(lab, 'POST', 'dlq-replays', { body }), 'id')) };
};

const firstRun: Scenario = async (lab, name) => {
  const id = await paged(lab, name);
  const runs: { readonly runId: string; readonly startTime: Date }[] = [];
  const query = `WorkflowId = '${dlqReplayWorkflowId(asId(id))}'`;
  for await (const run of lab.temporal.workflow.list({ query })) runs.push(run);
  const [oldest, next] = runs.sort((a, b) => a.startTime.getTime() - b.startTime.getTime());
  if (oldest === undefined || next === undefined) throw new Error('it did not continue as new');
  return { id, runId: oldest.runId };
};

export const replayScenarios: Readonly<Record<string, Scenario>> = {
  'replay-completed': lived('plain'),
  'replay-cancelled': lived('cancelled'),
  'replay-cancelled-too-late': lived('refused'),
  'replay-resumed': lived('resumed'),
  'replay-dry-run': dryRun,
};

/** Those for which the engine suggests to continue as new after a few events. */
export const continuedReplayScenarios: Readonly<Record<string, Scenario>> = {
  'replay-continued': firstRun,
  'replay-after-continuing': async (lab, name) => ({ id: await paged(lab, name) }),
};
