import type { Redis } from 'ioredis';
import type { RateClass } from '../../contracts/http.api.ts';
import type { PolicyKey } from '../../contracts/policies.ts';
import type { PolicyReader } from '../../db/ops/policy.store.ts';

/** Where a subject stands in its minute. */
export interface Verdict {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Seconds until the window starts anew, at least 1. */
  readonly resetSeconds: number;
}

type Limited = Exclude<RateClass, 'none'>;

/** Counts requests in fixed minutes, together with all other processes as long as Redis is there. */
export interface Limiter {
  /** Counts one request of a user. */
  user(userId: string, rateClass: Limited): Promise<Verdict>;
  /** Counts one request without a (good) token; the budget of an address is ten users'. */
  address(remoteAddress: string): Promise<Verdict>;
}

const budgetKey = {
  api: 'rate_limit.api_requests_per_minute',
  financial: 'rate_limit.financial_requests_per_minute',
  terminal_token: 'rate_limit.terminal_token_requests_per_minute',
  admin_overview: 'rate_limit.admin_overview_requests_per_minute',
} as const satisfies Record<Limited, PolicyKey>;

const windowMs = 60_000;
const addressFactor = 10;
/** After a failure Redis is left alone for this long, so that a hanging one does not slow every request. */
const pauseMs = 1000;
const maxLocalWindows = 50_000;

const countScript = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}`;

interface Count {
  readonly count: number;
  readonly leftMs: number;
}

/** The limiter of one process. @param onFallback called for each request counted by this process alone. */
export function createLimiter(options: {
  readonly redis: Redis;
  readonly policies: PolicyReader;
  readonly onFallback: () => void;
}): Limiter {
  const local = new LocalWindows();
  let pausedUntil = -Infinity;
  const count = async (subject: string): Promise<Count> => {
    if (performance.now() >= pausedUntil) {
      try {
        return readCount(await options.redis.eval(countScript, 1, `rate:${subject}`, windowMs));
      } catch {
        pausedUntil = performance.now() + pauseMs;
      }
    }
    options.onFallback();
    return local.count(subject);
  };
  const judge = async (subject: string, limit: number): Promise<Verdict> => {
    const { count: used, leftMs } = await count(subject);
    return {
      allowed: used <= limit,
      limit,
      remaining: Math.max(0, limit - used),
      resetSeconds: Math.max(1, Math.ceil(leftMs / 1000)),
    };
  };
  return {
    user: async (userId, rateClass) =>
      judge(`${rateClass}:${userId}`, await options.policies.get(budgetKey[rateClass])),
    address: async (remoteAddress) =>
      judge(`address:${remoteAddress}`, addressFactor * (await options.policies.get(budgetKey.api))),
  };
}

function readCount(reply: unknown): Count {
  if (!Array.isArray(reply)) throw new Error('the limiter script gave no list');
  const [count, leftMs] = reply.map(Number);
  if (count === undefined || leftMs === undefined) throw new Error('the limiter script gave a short list');
  return { count, leftMs };
}

/** The same windows in memory; the oldest are dropped when there are very many. */
class LocalWindows {
  readonly #windows = new Map<string, { count: number; readonly endsAt: number }>();

  count(subject: string): Count {
    const at = performance.now();
    let window = this.#windows.get(subject);
    if (window === undefined || window.endsAt <= at) {
      this.#windows.delete(subject);
      window = { count: 0, endsAt: at + windowMs };
      this.#windows.set(subject, window);
      const oldest = this.#windows.keys().next();
      if (this.#windows.size > maxLocalWindows && !oldest.done) this.#windows.delete(oldest.value);
    }
    window.count += 1;
    return { count: window.count, leftMs: window.endsAt - at };
  }
}
