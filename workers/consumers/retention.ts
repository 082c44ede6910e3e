import type { Logger } from 'pino';
import type { Database } from '../../db/client.ts';
import { ageOut, agedKinds, type AgedKind, type EventRetention } from '../../db/ops/event.store.ts';
import type { PolicyReader } from '../../db/ops/policy.store.ts';
import { startLoop } from '../reconcilers/loop.ts';

const batch = 500;
const everyMs = 600_000;

/**
 * Deletes what consumers remember, events of the log, notifications and closed dead letters that are past their days by
 * policy; small batches, one after the other. A kind that fails does not keep the others from it.
 * @param failed hears of a kind that could not be aged out to the end this time.
 * @returns how many rows went.
 */
export async function ageOutAll(
  db: Database,
  policies: PolicyReader,
  isStopping: () => boolean,
  failed: (kind: AgedKind, error: unknown) => void,
): Promise<number> {
  const memory = await policies.get('event.memory_days');
  const days: EventRetention = {
    memory,
    log: await policies.get('event.log_retention_days'),
    notifications: await policies.get('notification.retention_days'),
    // Of a letter that is kept longer than that, its consumer would remember the event for as long.
    letters: Math.min(await policies.get('dead_letter.retention_days'), memory),
  };
  let total = 0;
  for (const kind of agedKinds) {
    try {
      for (let count = batch; count === batch && !isStopping(); total += count) {
        count = await ageOut(db.q, kind, days[kind], batch);
      }
    } catch (error) {
      failed(kind, error);
    }
  }
  return total;
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
      const gone = await ageOutAll(
        of.db,
        of.policies,
        () => stopping,
        (kind, error) => of.log.warn({ kind, err: error }, 'could not be aged out: tried again next time'),
      );
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
