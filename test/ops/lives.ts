/** Whole lives of a replay, each over letters of a subject of its own, with a fault in one of its activities. */
import { randomUUID } from 'node:crypto';
import { dlqReplayWorkflowId, asId } from '../../contracts/ids.ts';
import { adminCreateDlqReplay } from '../../contracts/ops/dlq-replay.api.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { ApiAnswer } from '../harness/api.ts';
import type { FaultKind, FaultRule, FaultTarget } from '../harness/faults.ts';
import { subjectOf, until, type Lab } from '../harness/lab.ts';
import { asAdmin, orderSurely, plantLetters, untilReplay } from './letters.ts';
import type { ReplayExpectation } from './replay-audit.ts';

/** What goes wrong, and where. */
export interface Fault {
  readonly target: FaultTarget;
  readonly fault: FaultKind;
}

export interface Lived {
  readonly expectation: ReplayExpectation;
  readonly rule: FaultRule | undefined;
}

export type Life = (lab: Lab, subject: string, fault: Fault | undefined) => Promise<Lived>;

const letters = 3;

/** The id of a replay, known before it is asked for. */
const replayIdOf = (key: string): string =>
  uuid5('dlq-replay', subjectOf('dev-admin'), adminCreateDlqReplay.id, key);

async function prepare(lab: Lab, subject: string, fault: Fault | undefined) {
  const key = randomUUID();
  const replayId = replayIdOf(key);
  await plantLetters(lab.db, subject, letters);
  const rule = fault && lab.faults.order(replayId, fault.target, fault.fault);
  return { key, replayId, rule };
}

/** Asks to cancel until it is decided; the answer may be that it is too late. */
export async function cancelSurely(
  lab: Lab,
  replayId: string,
  key: string = randomUUID(),
): Promise<ApiAnswer> {
  const ask = () =>
    asAdmin(lab, 'POST', `dlq-replays/${replayId}/cancel`, { body: { reason: 'enough' }, key });
  let answer = await ask();
  await until('the cancellation is decided', async () => {
    if (answer.status === 202 || answer.status === 503) answer = await ask();
    return answer.status !== 202 && answer.status !== 503;
  });
  return answer;
}

/** Waits until the run has taken in an update beside the one that asked for its outcome. */
export const untilCommanded = (lab: Lab, replayId: string): Promise<void> =>
  until(`the run of ${replayId} has the command`, async () => {
    const { events } = await lab.temporal.workflow
      .getHandle(dlqReplayWorkflowId(asId(replayId)))
      .fetchHistory();
    return (events ?? []).some(
      (event) =>
        event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.name === 'cancel',
    );
  });

const plain: Life = async (lab, subject, fault) => {
  const { key, replayId, rule } = await prepare(lab, subject, fault);
  await orderSurely(lab, subject, key);
  await untilReplay(lab, replayId, 'completed');
  return { expectation: { replayId, subject, state: 'completed' }, rule };
};

/** Cancelled with a page under way. */
const cancelled: Life = async (lab, subject, fault) => {
  const { key, replayId, rule } = await prepare(lab, subject, fault);
  const page = lab.faults.hold(replayId, { activity: 'publishDlqPage' });
  await orderSurely(lab, subject, key);
  await until('a page is under way', () => page.rule.struck());
  const answer = cancelSurely(lab, replayId);
  await untilCommanded(lab, replayId);
  page.letGo();
  if ((await answer).status !== 200) throw new Error(`cancelling answered ${(await answer).status}`);
  await untilReplay(lab, replayId, 'cancelled');
  return { expectation: { replayId, subject, state: 'cancelled' }, rule };
};

/** Cancelled when its end is being written already. */
const refused: Life = async (lab, subject, fault) => {
  const { key, replayId, rule } = await prepare(lab, subject, fault);
  const end = lab.faults.hold(replayId, { activity: 'transitionDlqReplay', label: 'finished' });
  await orderSurely(lab, subject, key);
  await until('the end is being written', () => end.rule.struck());
  const answer = cancelSurely(lab, replayId);
  await untilCommanded(lab, replayId);
  end.letGo();
  if ((await answer).status !== 409) throw new Error(`cancelling answered ${(await answer).status}`);
  return { expectation: { replayId, subject, state: 'completed' }, rule };
};

/** Its run is lost with a page under way; a reconciler starts the next one from the row. */
const resumed: Life = async (lab, subject, fault) => {
  const { key, replayId, rule } = await prepare(lab, subject, fault);
  const page = lab.faults.hold(replayId, { activity: 'publishDlqPage' });
  await orderSurely(lab, subject, key);
  await until('a page is under way', () => page.rule.struck());
  await lab.temporal.workflow.getHandle(dlqReplayWorkflowId(asId(replayId))).terminate('lost');
  page.letGo();
  await untilReplay(lab, replayId, 'completed');
  return { expectation: { replayId, subject, state: 'completed' }, rule };
};

export const lives = { plain, cancelled, refused, resumed } as const;
export type LifeName = keyof typeof lives;
