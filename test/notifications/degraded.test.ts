/** What is decided while Postgres or Redis has not answered: nothing that turns out to be wrong. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRedis } from '../../activities/platform/redis.ts';
import { createSocketQuota } from '../../api/ops/notification.quota.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { notice, operators, startNotices, type Notices } from './fixture.ts';

let n: Notices;
beforeAll(async () => {
  const never = 600_000;
  n = await startNotices({ replicas: [{ sweepMs: never, pingMs: never }] });
}, startTimeoutMs);
afterAll(() => n?.stop(), startTimeoutMs);

describe('places', () => {
  it('are not given to a refused socket by a renewal that comes in between', async () => {
    const redis = openRedis(n.h.config.redisUrl, 'places');
    await until('Redis', () => redis.status === 'ready');
    const options = { redis, leaseMs: 60_000, onFallback: () => undefined };
    const [one, other] = [createSocketQuota(options), createSocketQuota(options)];
    const user = randomUUID();
    expect(await one.take(user, 'first', 1)).toBe(true);
    const [taken] = await Promise.all([other.take(user, 'second', 1), other.renew()]);
    expect(taken).toBe(false);
    const held = await redis.zrangebyscore(`notification-sockets:${user}`, '-inf', '+inf');
    expect(held).toEqual(['first']);
    redis.disconnect();
  });

  it('are no more than allowed when many ask at once and Redis is away', async () => {
    const redis = openRedis('redis://127.0.0.1:9', 'nobody');
    redis.on('error', () => undefined);
    let alone = 0;
    const quota = createSocketQuota({ redis, leaseMs: 60_000, onFallback: () => (alone += 1) });
    const user = randomUUID();
    const taken = await Promise.all(Array.from({ length: 5 }, () => quota.take(user, randomUUID(), 2)));
    expect(taken.filter(Boolean)).toHaveLength(2);
    expect(alone).toBe(5);
    redis.disconnect();
  });
});

describe('an alert', () => {
  it('waits for what comes before it when nobody can tell whether there is something', async () => {
    const admin = await n.person(['user', 'admin']);
    const client = await n.open(admin);
    const own = await n.tellSilently(admin.id);
    const announce = await n.h.db.tx((tx) => n.notifier.notify(tx, [notice(operators)]));
    await n.h.stack.parts.postgres.kill();
    await announce?.();
    await until('the replica has looked in vain', () =>
      n.h.log.some((line) => /notifications could not be (looked for|read)/.test(line)),
    );
    await n.h.stack.parts.postgres.start();
    let last = '';
    await until('the writer works again', async () => {
      last = await n.tell(operators).catch(() => '');
      return last !== '';
    });
    await client.untilFrames(3);
    expect([client.ids[0], client.ids.at(-1)]).toEqual([own, last]);
    await client.close();
  });
});
