/** Every rate class over HTTP: its own policy, its own budget, the same answer when it is spent. */
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import { createPublicApp } from '../../api/app.ts';
import { createApiDeps } from '../../api/compose.ts';
import type { ApiDeps } from '../../api/deps.ts';
import { route, type Route } from '../../api/route.ts';
import { listen, type Listening } from '../../api/server.ts';
import { endpoints } from '../../contracts/endpoints.api.ts';
import type { Endpoint, RateClass } from '../../contracts/http.api.ts';
import { getHealthz } from '../../contracts/ops/health.api.ts';
import { policies, policyKeys, type PolicyKey } from '../../contracts/policies.ts';
import { startApiHarness, startTimeoutMs, type ApiAnswer, type ApiHarness } from '../harness/api.ts';

/** The whole table: a class that is missing does not compile, a policy that is missing fails below. */
const policyOf = {
  api: 'rate_limit.api_requests_per_minute',
  financial: 'rate_limit.financial_requests_per_minute',
  terminal_token: 'rate_limit.terminal_token_requests_per_minute',
  admin_overview: 'rate_limit.admin_overview_requests_per_minute',
} as const satisfies Record<Exclude<RateClass, 'none'>, PolicyKey>;
type Limited = keyof typeof policyOf;
const classes = Object.keys(policyOf) as Limited[];
/** Small, and all different: a class that read another's policy would show. */
const limits: Readonly<Record<Limited, number>> = {
  api: 5,
  financial: 3,
  terminal_token: 2,
  admin_overview: 4,
};

let h: ApiHarness;
let deps: ApiDeps;
let planted: Listening;
beforeAll(async () => {
  h = await startApiHarness();
  const log = createLogger({ process: 'api', level: 'silent' }, { write: () => undefined });
  deps = createApiDeps(h.config, log);
  const app = createPublicApp(classes.map(plantedRoute), deps);
  planted = await listen(createServer(app.express), app, '127.0.0.1', 0);
  for (const name of classes) {
    const body = { value: limits[name] };
    const at = `/api/v1/admin/policies/${policyOf[name]}`;
    // A new admin each time: the limit under test must not catch the one who sets it.
    expect((await h.request('PUT', at, { token: await newAdmin(), body })).status).toBe(200);
  }
  deps.policies.refresh();
}, startTimeoutMs);
afterAll(async () => {
  await planted?.drain(1000);
  deps?.redis.disconnect();
  deps?.redisSubscriber.disconnect();
  await Promise.all([deps?.db.close(), deps?.temporal.connection.close()]);
  await h?.stop();
}, startTimeoutMs);

const pathOf = (name: Limited): string => `/planted/${name}`;
/** A route of a class, through the whole pipeline: classes whose routes are still to come are limited all the same. */
function plantedRoute(name: Limited): Route {
  const declared: Endpoint = {
    ...getHealthz,
    id: `planted_${name}`,
    path: pathOf(name),
    auth: 'user',
    rate: name,
  };
  return route(declared, () => Promise.resolve({ status: 200, body: { status: 'ok' } }));
}

const newUser = (): Promise<string> => h.forge({ sub: randomUUID() });
const newAdmin = (): Promise<string> =>
  h.forge({ sub: randomUUID(), realm_access: { roles: ['user', 'admin'] } });

type Ask = () => Promise<Pick<ApiAnswer, 'status' | 'headers' | 'body'>>;
const askPlanted =
  (name: Limited, token: string): Ask =>
  async () => {
    const url = `http://127.0.0.1:${planted.port}${pathOf(name)}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as unknown };
  };

const header = (answer: { headers: Headers }, name: string): number =>
  Number(answer.headers.get(name) ?? Number.NaN);

/** Spends the budget of a class and one request more: what a client sees on the way and at the end. */
async function expectLimited(ask: Ask, limit: number): Promise<void> {
  for (let left = limit - 1; left >= 0; left -= 1) {
    const answer = await ask();
    expect([answer.status, header(answer, 'ratelimit-limit'), header(answer, 'ratelimit-remaining')]).toEqual(
      [200, limit, left],
    );
    expect(answer.headers.has('retry-after')).toBe(false);
  }
  const refused = await ask();
  expect(refused.status).toBe(429);
  expect(refused.body).toMatchObject({ code: 'rate_limit_exceeded', correlation_id: expect.any(String) });
  expect(header(refused, 'ratelimit-limit')).toBe(limit);
  expect(header(refused, 'ratelimit-remaining')).toBe(0);
  for (const name of ['ratelimit-reset', 'retry-after']) {
    expect(header(refused, name)).toBeGreaterThanOrEqual(1);
    expect(header(refused, name)).toBeLessThanOrEqual(60);
  }
}

describe('the table of classes', () => {
  it('names every policy of a rate limit once', () => {
    const declared = policyKeys.filter((key) => key.startsWith('rate_limit.'));
    expect(Object.values(policyOf).sort()).toEqual([...declared].sort());
    for (const key of declared) expect(policies[key]).toMatchObject({ type: 'int', minimum: 1 });
  });

  it('is all that endpoints use; who is signed in is always limited', () => {
    for (const one of endpoints) {
      expect([...classes, 'none']).toContain(one.rate);
      if (one.auth === 'user' || one.auth === 'admin')
        expect([one.id, one.rate]).not.toEqual([one.id, 'none']);
    }
  });
});

describe.each(classes)('class %s', (name) => {
  it('is limited by its own policy, and spends nothing of the others', async () => {
    const token = await newUser();
    await expectLimited(askPlanted(name, token), limits[name]);
    for (const other of classes.filter((one) => one !== name)) {
      const answer = await askPlanted(other, token)();
      expect([other, answer.status, header(answer, 'ratelimit-remaining')]).toEqual([
        other,
        200,
        limits[other] - 1,
      ]);
    }
    const somebodyElse = await askPlanted(name, await newUser())();
    expect([somebodyElse.status, header(somebodyElse, 'ratelimit-remaining')]).toEqual([
      200,
      limits[name] - 1,
    ]);
  });
});

/** Classes with endpoints of their own today, each with one that a test can call without an object. */
const served = classes.flatMap((name) => {
  const ofClass = endpoints.filter((one) => one.rate === name);
  const plain = ofClass.find((one) => one.method === 'get' && one.params === undefined);
  return ofClass.length === 0 ? [] : [[name, plain?.path ?? `no plain GET of class ${name}`] as const];
});

describe.each(served)('class %s at %s', (name, path) => {
  it('429 over the limit', async () => {
    const token = await newAdmin();
    await expectLimited(() => h.request('GET', path, { token }), limits[name]);
  });
});
