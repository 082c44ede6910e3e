import type { Redis } from 'ioredis';

/** Places for open sockets, counted over all replicas. */
export interface SocketQuota {
  /** Takes a place; false when the user has `max` already. */
  take(userId: string, socketId: string, max: number): Promise<boolean>;
  /** Keeps the places of all sockets of this process; to be called well within the lease. Never rejects. */
  renew(): Promise<void>;
  /** Gives a place back. Never rejects. */
  release(userId: string, socketId: string): Promise<void>;
}

const keyOf = (userId: string): string => `notification-sockets:${userId}`;

/** A place is a member whose score is its expiry in ms of Redis' clock: what a killed replica held runs out. */
const takeScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

const renewScript = `
local t = redis.call('TIME')
local expires = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], expires, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])`;

/**
 * Counts in Redis; without Redis each process counts alone.
 * @param onFallback called for each place that was counted alone.
 */
export function createSocketQuota(options: {
  readonly redis: Redis;
  readonly leaseMs: number;
  readonly onFallback: () => void;
}): SocketQuota {
  const { redis, leaseMs } = options;
  const own = new Map<string, Set<string>>();
  const forget = (userId: string, socketId: string): void => {
    const sockets = own.get(userId);
    sockets?.delete(socketId);
    if (sockets?.size === 0) own.delete(userId);
  };
  return {
    take: async (userId, socketId, max) => {
      const hasRoom = (): boolean => (own.get(userId)?.size ?? 0) < max;
      if (!hasRoom()) return false;
      let taken: boolean;
      try {
        taken = (await redis.eval(takeScript, 1, keyOf(userId), socketId, max, leaseMs)) === 1;
      } catch {
        options.onFallback();
        taken = hasRoom(); // others may have come in the meantime
      }
      // Only now: what is kept here is renewed, which would give a place to a socket that got none.
      if (taken) own.set(userId, (own.get(userId) ?? new Set()).add(socketId));
      return taken;
    },
    renew: async () => {
      if (redis.status !== 'ready') return;
      const pipeline = redis.pipeline();
      for (const [userId, sockets] of own) pipeline.eval(renewScript, 1, keyOf(userId), leaseMs, ...sockets);
      await pipeline.exec().catch(() => undefined);
    },
    release: async (userId, socketId) => {
      forget(userId, socketId);
      await redis.zrem(keyOf(userId), socketId).catch(() => undefined);
    },
  };
}
