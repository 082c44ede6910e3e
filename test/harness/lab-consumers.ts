import pino from 'pino';
import { createNotifier } from '../../db/ops/notification.store.ts';
import type { Backoff } from '../../workers/consumers/backoff.ts';
import { allSubscriptions } from '../../workers/consumers/compose.ts';
import { deadLetterDesk } from '../../workers/consumers/ops/dead-letter.consumer.ts';
import { ConsumerRuntime } from '../../workers/consumers/runtime.ts';
import type { Lab } from './lab.ts';

/** Repeats come fast, so that a test sees them all. */
export const fastBackoff: Backoff = { baseMs: 5, maxMs: 20 };

/** The product's event consumers over a lab's servers, in this process. @returns it running; end it before the lab. */
export async function startLabConsumers(
  lab: Pick<Lab, 'db' | 'nc' | 'temporal' | 'redis' | 'policies'>,
): Promise<ConsumerRuntime> {
  const { db, nc, temporal, redis, policies } = lab;
  const notifier = createNotifier((channel, message) => redis.publish(channel, message));
  const runtime = new ConsumerRuntime(
    {
      db,
      nc,
      log: pino({ level: 'silent' }),
      subscriptions: allSubscriptions({
        db,
        temporal,
        notifications: { notifier, policies, publicUrl: undefined },
      }),
      writeDown: deadLetterDesk({
        db,
        policies,
        alertOperators: (tx, alert) => notifier.alertOperators(tx, alert),
      }),
      probeTarget: async () => void (await temporal.workflowService.getSystemInfo({})),
    },
    { streams: { environment: 'test' }, backoff: fastBackoff },
  );
  await runtime.start();
  return runtime;
}
