/** How the API has answered what a node reported. */
import { and, eq, isNull } from 'drizzle-orm';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { nodeTasks } from '../../db/schema.ts';
import { until, type Lab } from '../harness/lab.ts';
import { nodeOfSku } from './lives.ts';

/** How often the API has answered a report of the SKU's node with the status, by its request log. */
export function reportsAnswered(lab: Lab, sku: string, status: number): number {
  const about = ['"operation":"postTaskResult"', `"status":${status},`, nodeOfSku(lab, sku).id];
  return lab.api.log.filter((line) => about.every((part) => line.includes(part))).length;
}

/** Waits for the answer that comes when the plane waits no longer. @throws when it counted for anything. */
export async function untilRefusedLate(lab: Lab, sku: string, id: string, kind: NodeTaskKind): Promise<void> {
  await until('the late answer is refused', () => reportsAnswered(lab, sku, 409) === 1);
  const superseded = await lab.db.q.$count(
    nodeTasks,
    and(
      eq(nodeTasks.allocationId, id),
      eq(nodeTasks.kind, kind),
      eq(nodeTasks.state, 'superseded'),
      isNull(nodeTasks.resultAt),
    ),
  );
  if (superseded !== 1) throw new Error(`${superseded} tasks ${kind} were superseded without a result`);
}
