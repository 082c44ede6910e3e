import type { ErrorCode } from '../errors.ts';
import {
  isTerminalAllocationState,
  nextAllocationState,
  type AllocationState,
} from './allocation.lifecycle.ts';

/**
 * Why a release command cannot be taken in this state; undefined when it can.
 * Called by the API (early answer) and by the workflow's main loop (the last word).
 */
export function releaseRefusal(
  state: AllocationState,
  command: 'release' | 'force_release',
): ErrorCode | undefined {
  const event = command === 'release' ? 'release_requested' : 'force_release_requested';
  if (nextAllocationState(state, event) !== undefined) return undefined;
  return isTerminalAllocationState(state) ? 'allocation_not_active' : 'allocation_already_releasing';
}
