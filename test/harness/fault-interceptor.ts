/** The worker's side of the fault plan: asks before every activity, obeys, and reports. */
import { CompleteAsyncError } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInterceptorsFactory } from '@temporalio/worker';
import type { Call, FaultLink, Order } from './faults.ts';

interface Outcome {
  readonly failures: readonly string[];
  /** Ends the activity as the real one ended. */
  finish(): unknown;
}

/** Every activity of a lifecycle goes through the link; `die` ends this process and never resolves. */
export function faultInterceptor(link: FaultLink, die: () => Promise<never>): ActivityInterceptorsFactory {
  return ({ info }) => ({
    inbound: {
      async execute(input, next) {
        const call = callOf(info.activityType, info.attempt, input);
        if (call === undefined) return next(input);
        const { order, callId } = await link.begin(call);
        const run = (): Promise<Outcome> => observe(() => next(input));
        const report = (did: Order, failures: readonly string[]) => link.ended(callId, { did, failures });
        if (order === 'die_before') {
          await report(order, []);
          return die();
        }
        if (order === 'fail') {
          await report(order, []);
          throw new Error('injected fault before the effect');
        }
        if (order === 'run_twice') {
          const [first, second] = await Promise.all([run(), run()]);
          await report(order, [...first.failures, ...second.failures]);
          return second.finish();
        }
        const outcome = await run();
        // A failure of its own is no effect to die after.
        const dies = order === 'die_after' && outcome.failures.length === 0;
        await report(dies ? 'die_after' : 'run', outcome.failures);
        return dies ? die() : outcome.finish();
      },
    },
  });
}

async function observe(run: () => Promise<unknown>): Promise<Outcome> {
  try {
    const value = await run();
    return { failures: [], finish: () => value };
  } catch (failure) {
    return {
      failures: failure instanceof CompleteAsyncError ? [] : [causesOf(failure)],
      finish: () => {
        throw failure;
      },
    };
  }
}

function causesOf(failure: unknown): string {
  const messages: string[] = [];
  for (let at = failure; at instanceof Error; at = at.cause) messages.push(at.message);
  return messages.join(' < ');
}

/** The allocation, or the replay, that a call is for: every activity of a lifecycle names it in its one argument. */
function callOf(activity: string, attempt: number, { args }: ActivityExecuteInput): Call | undefined {
  const [input] = args as {
    allocationId?: string;
    replayId?: string;
    event?: string;
    task?: { allocationId: string; kind: string };
  }[];
  const allocationId = input?.task?.allocationId ?? input?.allocationId ?? input?.replayId;
  if (allocationId === undefined) return undefined;
  return { allocationId, activity, attempt, label: input?.task?.kind ?? input?.event ?? '' };
}
