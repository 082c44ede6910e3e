/** A change as it must not be made: running allocations do not have this timer in their past. */
import { sleep } from '@temporalio/workflow';
import type { AllocationInput } from '../../../contracts/allocations/allocation.messages.ts';
import type { AllocationState } from '../../../contracts/allocations/allocation.lifecycle.ts';
import { allocation as current } from '../../../workflows/allocations/allocation.workflow.ts';

export async function allocation(input: AllocationInput): Promise<AllocationState | 'refused'> {
  await sleep(1);
  return current(input);
}
