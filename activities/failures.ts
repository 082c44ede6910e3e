/** How an activity fails: as a defect that no retry mends, or as an outage that ends. */
import { ApplicationFailure } from '@temporalio/common';
import { sqlState } from '../db/client.ts';
import { SecondWriterError } from '../db/timeline.ts';

/** A defect of ours: never retried. */
export const defect = (message: string): ApplicationFailure =>
  ApplicationFailure.create({ message, type: 'internal_error', nonRetryable: true });

/**
 * Runs an activity's work. A second writer is a defect; everything else is an outage. Failures travel into the engine's
 * history, so a failed statement is told by its code: its text holds names and keys.
 * @param isDefect whether a failure of the work's own is a defect too.
 */
export async function guarded<T>(
  work: () => Promise<T>,
  isDefect: (error: Error) => boolean = () => false,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ApplicationFailure) throw error;
    if (error instanceof SecondWriterError || (error instanceof Error && isDefect(error))) {
      throw defect(error.message);
    }
    const state = sqlState(error);
    const message = state === undefined ? 'the work failed' : `the work failed with ${state}`;
    throw ApplicationFailure.create({ message, type: 'service_unavailable' });
  }
}
