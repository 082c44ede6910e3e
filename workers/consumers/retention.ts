import type { Logger } from 'pino';
import type { Database } from '../../db/client.ts';
import { ageOut } from '../../db/ops/event.store.ts';
import type { PolicyReader } from '../../db/ops/policy.store.ts';
import { startLoop } from '../reconcilers/loop.ts';

const batch = 500;
const everyMs = 600_000;

/**
 * Deletes what consumers remember, events of the log, notifications and closed dead letters that are past their days by
 * policy; small batches, one after the other. @returns how many rows went.
 */
export async function ageOutAll(
  db: Database,
  policies: PolicyReader,
  isStopping: () => boolean,
): Promise<number> {
  const memoryDays = await policies.get('event.memory_days');
  const retention = {
    memoryDays,
    logDays: await policies.get('event.log_retention_days'),
    notificationDays: await policies.get('notification.retention_days'),
    // A letter whose effect its consumer has forgotten would look as if it could be sent again.
    letterDays: Math.min(await policies.get('dead_letter.retention_days'), memoryDays),
  };
  for (let total = 0; ;) {
    const gone = await ageOut(db.q, retention, batch);
    const counts = Object.values(gone);
    for (const count of counts) total += count;
    if (!counts.includes(batch) || isStopping()) return total;
  }
}

/** Ages out now and every ten minutes. */
export function startRetention(of: {
  readonly db: Database;
  readonly policies: PolicyReader;
  readonly log: Logger;
}): { stop(): Promise<void> } {
  let stopping = false;
  const loop = startLoop({
    name: 'event-retention',
    everyMs,
    log: of.log,
    sweep: async () => {
      const gone = await ageOutAll(of.db, of.policies, () => stopping);
      if (gone > 0) of.log.info({ rows: gone }, 'aged out');
    },
  });
  return {
    stop: () => {
      stopping = true;
      return loop.stop();
    },
  };
}
