import type { Client } from '@temporalio/client';
import { command, refuseClosed } from '../../api/allocations/allocation.commands.ts';
import { updateIdOf } from '../../api/engine.ts';
import { asId } from '../../contracts/ids.ts';
import type { Database } from '../../db/client.ts';
import { undeliveredCommands } from '../../db/ops/undelivered.views.ts';

/** A command younger than this is on its normal way. */
export const undeliveredAgeSeconds = 15;
const batchSize = 50;

/**
 * Sends commands once more of which their run may know nothing, under the same update id: one that it does know is
 * answered from memory. @returns how many were decided.
 */
export async function deliverCommands(
  db: Database,
  client: Client,
  ageSeconds: number = undeliveredAgeSeconds,
): Promise<number> {
  let decided = 0;
  for (const one of await undeliveredCommands(db.q, ageSeconds, batchSize)) {
    const updateId = updateIdOf(one.caller, one.route, one.key);
    const result = await command(client, asId(one.allocationId), one.command, updateId);
    if (result.kind === 'decided') decided += 1;
    if (result.kind !== 'closed' || !one.undecided) continue;
    if ((await refuseClosed(db, one.command, one.allocationId)) !== undefined) decided += 1;
  }
  return decided;
}
