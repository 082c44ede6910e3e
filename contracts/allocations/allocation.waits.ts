import type { NodeTaskKind } from '../nodes/node-task.tasks.ts';
import type { AllocationState } from './allocation.lifecycle.ts';

export type Unblocker = 'nobody' | 'user' | 'admin' | 'node' | 'platform';

/** What an allocation waits for in each state, as its row, `explain` and the Temporal UI say it. */
export const allocationWaits = {
  requested: { waitingOn: 'the first node task to be dispatched', whoCanUnblock: 'platform' },
  provisioning: { waitingOn: 'the node to prepare the tenant account', whoCanUnblock: 'node' },
  active: { waitingOn: 'a release', whoCanUnblock: 'user' },
  releasing: { waitingOn: 'the node to clean up and prove it', whoCanUnblock: 'node' },
  released: { waitingOn: null, whoCanUnblock: 'nobody' },
  failed: { waitingOn: null, whoCanUnblock: 'nobody' },
  release_failed: {
    waitingOn: 'a release by its user or a force-release by an admin',
    whoCanUnblock: 'admin',
  },
} as const satisfies Record<AllocationState, { waitingOn: string | null; whoCanUnblock: Unblocker }>;

/** What it waits for while a node works on a task: the same words in the row, `explain` and the Temporal UI. */
export const nodeTaskWait = (kind: NodeTaskKind): string => `node task ${kind}`;

const longestPauseMs = 30_000;

/**
 * The pause before a node's task is tried again, in milliseconds: doubles up to 30 s.
 * @param firstMs after the first attempt.
 * @param tried attempts so far, all failed; at least one.
 */
export const taskPauseMs = (firstMs: number, tried: number): number =>
  Math.min(firstMs * 2 ** (tried - 1), longestPauseMs);
