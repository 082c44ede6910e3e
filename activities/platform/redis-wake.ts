import { Redis } from 'ioredis';
import { wakeChannels } from '../../contracts/wakes.ts';

/** Channel on which whoever committed an event wakes the relay; the message is the partition's number. */
export const wakeChannel = wakeChannels.outbox;

/**
 * Wakes the relays after a commit. Best effort: without Redis the relay's sweep finds the rows. Never rejects and never
 * waits for a Redis that is away.
 * @param partitions `partitionOf` each aggregate whose events were committed.
 */
export async function wakeRelay(redis: Redis, partitions: Iterable<number>): Promise<void> {
  if (redis.status !== 'ready') return;
  const message = [...new Set(partitions)].join(',');
  if (message === '') return;
  try {
    await redis.publish(wakeChannel, message);
  } catch {
    // The sweep of the relay is the net below this.
  }
}

/** A subscription that survives every loss of its connection. */
export interface WakeSubscription {
  close(): void;
}

const reconnectMaxMs = 2000;

/**
 * Listens for wake-ups on a connection of its own, reconnecting for ever.
 * @param onWake partitions to look at; undefined after a (re)connection, when any may have been missed.
 */
export function subscribeWake(
  url: string,
  onWake: (partitions: readonly number[] | undefined) => void,
): WakeSubscription {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(100 * 2 ** Math.min(times - 1, 5), reconnectMaxMs),
    autoResubscribe: false,
  });
  // Each failed attempt is reported as an error; the retry strategy deals with it.
  redis.on('error', () => undefined);
  redis.on('ready', () => {
    redis.subscribe(wakeChannel).then(
      () => onWake(undefined),
      () => undefined,
    );
  });
  redis.on('message', (_channel: string, message: string) => {
    const partitions = message.split(',').map(Number).filter(Number.isInteger);
    if (partitions.length > 0) onWake(partitions);
  });
  return { close: () => redis.disconnect() };
}
