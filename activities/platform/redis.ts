import { Redis } from 'ioredis';

/** What a Redis connection tells of itself. */
export interface RedisEvents {
  /** Called when the connection breaks or cannot be made; the client goes on trying by itself. */
  readonly onError?: (error: Error) => void;
}

const retry = (attempt: number): number => Math.min(attempt * 50, 1000);

/**
 * A connection for commands: a command fails at once when Redis is away, and after 500 ms when it hangs; the connection
 * itself is tried for ever.
 */
export function openRedis(url: string, name: string, events: RedisEvents = {}): Redis {
  const redis = new Redis(url, {
    connectionName: name,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: 500,
    connectTimeout: 2000,
    retryStrategy: retry,
  });
  redis.on('error', (error) => events.onError?.(error));
  return redis;
}

/** A connection for subscriptions; it subscribes again after every reconnect. */
export function openRedisSubscriber(url: string, name: string, events: RedisEvents = {}): Redis {
  const redis = new Redis(url, {
    connectionName: name,
    maxRetriesPerRequest: null,
    connectTimeout: 2000,
    autoResubscribe: true,
    retryStrategy: retry,
  });
  redis.on('error', (error) => events.onError?.(error));
  return redis;
}
