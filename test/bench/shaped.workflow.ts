/** The raw workflows: R0 does nothing, R1 follows a shape step by step with empty bodies. */
import {
  allHandlersFinished,
  condition,
  defineUpdate,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { defineSearchAttributeKey } from '@temporalio/common';
import type { RawActivities, RawLocalActivities } from './raw-activities.ts';
import { filler } from './filler.ts';
import type { ActivityShape, Shape } from './shape.ts';

const local = proxyLocalActivities<RawLocalActivities>({
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '30 seconds',
  retry: { initialInterval: '100 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
});

/** R0: the cheapest run there is. */
export async function empty(): Promise<void> {
  // Nothing.
}

/** R1. */
export async function runShape(shape: Shape): Promise<string | undefined> {
  const asked = new Map<string, number>();
  const answered = new Map<string, string | undefined>();
  for (const name of Object.keys(shape.updates)) {
    setHandler(defineUpdate<string | undefined, unknown[]>(name), async () => {
      asked.set(name, (asked.get(name) ?? 0) + 1);
      await condition(() => answered.has(name));
      return answered.get(name);
    });
  }
  for (const step of shape.steps) {
    switch (step.kind) {
      case 'localActivity':
        await local.rawWrite(step);
        break;
      case 'activity':
        await runActivity(step.activity);
        break;
      case 'upsert':
        upsertSearchAttributes(
          Object.entries(step.attributes).map(([name, value]) => ({
            key: defineSearchAttributeKey(name, 'KEYWORD'),
            value,
          })),
        );
        break;
      case 'awaitUpdate':
        await condition(() => asked.has(step.name));
        break;
      case 'answerUpdate':
        answered.set(step.name, filler(step.resultBytes));
        break;
    }
  }
  await condition(allHandlersFinished);
  return filler(shape.resultBytes);
}

async function runActivity(activity: ActivityShape): Promise<void> {
  const { rawTask } = proxyActivities<RawActivities>({
    scheduleToCloseTimeout: activity.scheduleToCloseMs,
    startToCloseTimeout: activity.startToCloseMs,
    ...(activity.heartbeatMs === 0 ? {} : { heartbeatTimeout: activity.heartbeatMs }),
    retry: { initialInterval: '200 milliseconds', backoffCoefficient: 2, maximumInterval: '2 seconds' },
    ...(activity.summary === null ? {} : { summary: activity.summary }),
  });
  await rawTask(filler(activity.inputBytes, activity.resultBytes));
}
