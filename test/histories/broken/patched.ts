/** The same change as it is made: runs that began before it go on without the timer. */
import { patched, sleep } from '@temporalio/workflow';
import type { AllocationInput } from '../../../contracts/allocations/allocation.messages.ts';
import type { AllocationState } from '../../../contracts/allocations/allocation.lifecycle.ts';
import { allocation as current } from '../../../workflows/allocations/allocation.workflow.ts';

export async function allocation(input: AllocationInput): Promise<AllocationState | 'refused'> {
  if (patched('timer-before-admission')) await sleep(1);
  return current(input);
}
