/** Empty bodies of the raw workflow. */
import { CompleteAsyncError, activityInfo } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { Redis } from 'ioredis';
import { filler, fillerAbout } from './filler.ts';

/** Channel on which a raw run says that its next update may come; the message is the workflow's id. */
export const announceChannel = 'bench-announce';

export interface RawLocalActivities {
  rawWrite(step: { readonly resultBytes: number; readonly announce: boolean }): Promise<string | undefined>;
}

export interface RawActivities {
  /** Completes asynchronously, at once; the input says how large the result is. */
  rawTask(input: string | undefined): Promise<string | undefined>;
}

export function createRawActivities(client: Client, redis: Redis): RawLocalActivities & RawActivities {
  return {
    rawWrite: async ({ resultBytes, announce }) => {
      const { workflowExecution } = activityInfo();
      if (announce && workflowExecution !== undefined) {
        await redis.publish(announceChannel, workflowExecution.workflowId);
      }
      return filler(resultBytes);
    },
    rawTask: async (input) => {
      const { workflowExecution, activityId } = activityInfo();
      if (workflowExecution === undefined) throw new Error('a raw task belongs to a workflow');
      const address = { ...workflowExecution, activityId };
      setImmediate(() => {
        client.activity.complete(address, filler(fillerAbout(input))).catch((error: unknown) => {
          process.stderr.write(`completion failed: ${String(error)}\n`);
        });
      });
      throw new CompleteAsyncError();
    },
  };
}
