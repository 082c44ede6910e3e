import type { Client } from '@temporalio/client';
import { completeActivity } from '../../api/nodes/node-task.commands.ts';
import type { Database } from '../../db/client.ts';
import { uncompletedTasks } from '../../db/nodes/node-task.store.ts';

/** Age after which a stored result counts as not told: the API tells it at once. */
const ageMs = 1000;
const batchSize = 100;

/** Tells the engine the results that are stored but that it was never told (the API died, or the engine was away). */
export async function completeStoredResults(db: Database, client: Client): Promise<number> {
  const tasks = await uncompletedTasks(db.q, ageMs, batchSize);
  let told = 0;
  for (const task of tasks) {
    if (task.verdict !== null && (await completeActivity(client, db, task, task.verdict))) told += 1;
  }
  return told;
}
