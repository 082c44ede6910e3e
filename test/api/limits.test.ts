import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startApiHarness, startTimeoutMs, type ApiAnswer, type ApiHarness } from '../harness/api.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness();
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const asSomebody = async () => {
  const token = await h.forge({ sub: randomUUID() });
  return (): Promise<ApiAnswer> => h.request('GET', '/api/v1/auth/personal', { token });
};
const header = (answer: ApiAnswer, name: string): number => Number(answer.headers.get(name));
const setLimit = async (value: number): Promise<void> => {
  const at = '/api/v1/admin/policies/rate_limit.api_requests_per_minute';
  expect(await h.request('PUT', at, { token: await adminToken(), body: { value } })).toMatchObject({
    status: 200,
  });
};
/** A new admin each time, so that the limit under test never catches the one who sets it. */
const adminToken = (): Promise<string> => h.forge({ sub: randomUUID(), realm_access: { roles: ['admin'] } });

describe('rate limits', () => {
  it('count down in the headers, and another user has a budget of their own', async () => {
    const [ask, other] = [await asSomebody(), await asSomebody()];
    const first = await ask();
    expect(header(first, 'ratelimit-limit')).toBe(120);
    expect(header(first, 'ratelimit-remaining')).toBe(119);
    expect(header(first, 'ratelimit-reset')).toBeGreaterThan(0);
    expect(header(first, 'ratelimit-reset')).toBeLessThanOrEqual(60);
    expect(header(await ask(), 'ratelimit-remaining')).toBe(118);
    expect(header(await other(), 'ratelimit-remaining')).toBe(119);
  });

  it('429 above the policy, which takes effect at once', async () => {
    const ask = await asSomebody();
    await setLimit(3);
    const statuses: number[] = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await ask()).status);
    const refused = await ask();
    await setLimit(120);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect(refused.body).toMatchObject({ code: 'rate_limit_exceeded' });
    expect(header(refused, 'ratelimit-remaining')).toBe(0);
    expect(header(refused, 'retry-after')).toBeGreaterThan(0);
  });

  it('count refused admin calls before they are audited', async () => {
    await setLimit(2);
    const token = await h.forge({ sub: randomUUID() });
    const statuses: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const at = '/api/v1/admin/policies/maas.enabled';
      statuses.push((await h.request('PUT', at, { token, body: { value: true } })).status);
    }
    await setLimit(120);
    expect(statuses).toEqual([403, 403, 429, 429]);
  });

  it('429 for an address that comes without a good token, ten times the budget of a user', async () => {
    await setLimit(1);
    const statuses: number[] = [];
    for (let n = 0; n < 40 && statuses.at(-1) !== 429; n += 1) {
      statuses.push((await h.request('GET', '/api/v1/projects', { token: 'garbage' })).status);
    }
    const known = await asSomebody();
    expect((await known()).status).toBe(200);
    await setLimit(120);
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
  });

  it('go on in this process alone while Redis is away, counted, and are shared again afterwards', async () => {
    const ask = await asSomebody();
    const fallbacks = async (): Promise<number> => {
      const { body } = await h.request('GET', '/metrics');
      return Number(/^gpuaas_rate_limiter_fallbacks_total (\d+)$/m.exec(String(body))?.[1]);
    };
    const before = await fallbacks();
    await h.stack.parts.redis.kill();
    const remaining: number[] = [];
    for (let n = 0; n < 3; n += 1) {
      const answer = await ask();
      expect(answer.status).toBe(200);
      remaining.push(header(answer, 'ratelimit-remaining'));
    }
    expect(remaining).toEqual([119, 118, 117]);
    expect(await fallbacks()).toBe(before + 3);
    await h.stack.parts.redis.start();
    const shared = await asSomebody();
    await vi.waitFor(
      async () => {
        const counted = await fallbacks();
        await shared();
        expect(await fallbacks()).toBe(counted);
      },
      { timeout: 20_000, interval: 100 },
    );
  }, 120_000);
});
