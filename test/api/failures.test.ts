/** Every way to a 5xx, by its class: what is away is `service_unavailable`, what is ours is `internal_error`. */
import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { watchDependencies } from '../../activities/platform/dependencies.ts';
import { createLogger } from '../../activities/platform/logging.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { createPublicApp } from '../../api/app.ts';
import { createApiDeps } from '../../api/compose.ts';
import type { ApiDeps } from '../../api/deps.ts';
import { classify, errorAnswer } from '../../api/middleware/errors.ts';
import { route, type Route } from '../../api/route.ts';
import { listen } from '../../api/server.ts';
import { getHealthz } from '../../contracts/ops/health.api.ts';
import { field, startApiHarness, startTimeoutMs, type ApiHarness } from '../harness/api.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness({ parts: ['postgres', 'redis', 'temporal'] });
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

interface Parts {
  readonly [name: string]: { readonly ok: boolean; readonly required: boolean; readonly latency_ms: number };
}
const readiness = async (): Promise<{ status: number; parts: Parts }> => {
  const answer = await h.request('GET', '/readyz');
  const holder = answer.status === 200 ? answer.body : field(answer, 'details');
  return { status: answer.status, parts: (holder as { parts: Parts }).parts };
};
const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 100 });

/** A listener whose health check is this handler, for as long as `use` takes. @returns what it says, and the log. */
async function listening<T>(
  handle: Route['handle'],
  use: (url: string, deps: ApiDeps) => Promise<T>,
  environment: 'test' | 'production' = 'test',
): Promise<T & { readonly lines: readonly string[] }> {
  const lines: string[] = [];
  const log = createLogger(
    { process: 'api', level: 'debug' },
    { write: (line: string) => void lines.push(line) },
  );
  const deps: ApiDeps = createApiDeps({ ...h.config, environment }, log);
  const app = createPublicApp([route(getHealthz, handle)], deps);
  const server = await listen(createServer(app.express), app, '127.0.0.1', 0);
  try {
    return { ...(await use(`http://127.0.0.1:${server.port}/healthz`, deps)), lines };
  } finally {
    await server.drain(1000);
    deps.redis.disconnect();
    deps.redisSubscriber.disconnect();
    await Promise.all([deps.db.close(), deps.temporal.connection.close()]);
  }
}

const withCode = (code: string): Error => Object.assign(new Error('x'), { code });

describe('a defect of ours', () => {
  const answerOf = (handle: Route['handle'], environment: 'test' | 'production' = 'test') =>
    listening(
      handle,
      async (url) => {
        const answer = await fetch(url, { headers: { 'x-correlation-id': 'c-1' } });
        const body: unknown = await answer.json();
        return { status: answer.status, body };
      },
      environment,
    );
  const internal = { code: 'internal_error', message: 'An internal error occurred.', correlation_id: 'c-1' };

  it('is internal_error without its cause, logged once with it', async () => {
    const cause = new Error('password=hunter2 at row 7');
    const { status, body, lines } = await answerOf(() => Promise.reject(cause));
    expect({ status, body }).toEqual({ status: 500, body: internal });
    const failures = lines.filter((line) => line.includes('request failed'));
    expect(failures).toHaveLength(1);
    expect(failures[0]).toContain('"correlation_id":"c-1"');
    expect(failures[0]).toContain('password=[REDACTED] at row 7');
  });

  it('also when a handler throws what is no error', async () => {
    expect((await answerOf(() => Promise.reject('nope'))).body).toEqual(internal);
  });

  // prettier-ignore
  it.each([
    ['a status it does not have', { status: 418, body: { status: 'ok' } }],
    ['another body',              { status: 200, body: { status: 'fine' } }],
    ['a field too many',          { status: 200, body: { status: 'ok', secret: 1 } }],
    ['no body',                   { status: 200, body: undefined }],
  ])('an answer against the contract: %s', async (_what, answer) => {
    expect(await answerOf(() => Promise.resolve(answer))).toMatchObject({ status: 500, body: internal });
  });

  it('a failed query tells only what the database says, never its parameters', async () => {
    const deps = h.db;
    const { body, lines } = await answerOf(async () => {
      await deps.q.execute(`select 'hidden-parameter' from no_such_table`);
      return { status: 200, body: null };
    });
    expect(body).toEqual(internal);
    expect(lines.join('\n')).toContain('42P01');
    expect(lines.join('\n')).not.toContain('hidden-parameter');
  });

  it('a caller is read where there is none', async () => {
    const { body } = await answerOf((request) =>
      Promise.resolve({ status: 200, body: { status: request.caller.userId } }),
    );
    expect(body).toEqual(internal);
  });
});

describe('a client that has left', () => {
  // prettier-ignore
  it.each([
    ['a failure of Postgres', () => Promise.reject(withCode('ECONNREFUSED')),                '503'],
    ['a defect',              () => Promise.reject(new TypeError('x is undefined')),         '500'],
    ['an answer',             () => Promise.resolve({ status: 200, body: { status: 'ok' } }), '200'],
  ])('is counted and logged with what came of its request: %s', async (_what, end, status) => {
    const leaving = new AbortController();
    const { lines } = await listening(
      async ({ signal }) => {
        const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        leaving.abort();
        await gone;
        return end();
      },
      async (url, { metrics }) => {
        await expect(fetch(url, { signal: leaving.signal })).rejects.toThrow();
        const counted = async () => {
          const { text } = await metrics.render();
          return [...text.matchAll(/http_request_duration_seconds_count\{operation="getHealthz",status="(\d+)"\} 1/g)].map(([, of]) => of);
        };
        await until(async () => expect(await counted()).toEqual([status]));
        return {};
      },
    );
    const logged = lines.map((line) => (JSON.parse(line) as { status?: number }).status);
    expect(logged.filter((one) => one !== undefined)).toEqual([Number(status)]);
  });
});

describe('a probe', () => {
  it('that throws at once tells of a server that is away, like one that rejects', async () => {
    const told: string[] = [];
    const probe = (): never => {
      throw new Error('no client');
    };
    const watch = watchDependencies({
      probes: {
        postgres: probe,
        nats: () => Promise.reject(new Error('away')),
        redis: () => Promise.resolve(),
      },
      everyMs: 60_000,
      tell: (dependency, isUp) => void told.push(`${dependency} ${isUp}`),
      log: createLogger({ process: 'api', level: 'error' }, { write: () => undefined }),
    });
    await expect.poll(() => told.sort()).toEqual(['nats false', 'postgres false', 'redis true']);
    watch.stop();
  });
});

describe('classification', () => {
  // prettier-ignore
  it.each([
    ['connection refused',      withCode('ECONNREFUSED'),                  'service_unavailable'],
    ['server shutting down',    withCode('57P01'),                         'service_unavailable'],
    ['too many connections',    withCode('53300'),                         'service_unavailable'],
    ['statement time-out',      withCode('57014'),                         'service_unavailable'],
    ['lock time-out',           withCode('55P03'),                         'service_unavailable'],
    ['write to a standby',      withCode('25006'),                         'service_unavailable'],
    ['idle in a transaction',   withCode('25P03'),                         'service_unavailable'],
    ['no way to the network',   withCode('ENETUNREACH'),                   'service_unavailable'],
    ['deadlock',                withCode('40P01'),                         'service_unavailable'],
    ['lost against others',     withCode('40001'),                         'service_unavailable'],
    ['unique violation',        withCode('23505'),                         'internal_error'],
    ['wrapped connection loss', new Error('q', { cause: withCode('08006') }), 'service_unavailable'],
    ['programming error',       new TypeError('x is undefined'),           'internal_error'],
  ])('%s: %s', (_what, error, code) => {
    const classified = classify(error);
    expect(classified.code).toBe(code);
    const retryAfter = errorAnswer(classified, 'c-1').headers['Retry-After'];
    expect(retryAfter).toBe(code === 'service_unavailable' ? '1' : undefined);
  });
});

describe('Postgres killed', () => {
  it('503 with Retry-After for reads and changes, not ready; all is well after its return', async () => {
    expect(await readiness()).toMatchObject({
      status: 200,
      parts: { postgres: { ok: true, required: true } },
    });
    expect((await h.request('GET', '/api/v1/projects', { as: 'dev-user' })).status).toBe(200);
    await h.stack.parts.postgres.kill();
    const answers = [
      await h.request('GET', '/api/v1/projects', { as: 'dev-user' }),
      await h.request('POST', '/api/v1/projects', { as: 'dev-user', body: { name: 'p-down' } }),
      await h.request('GET', '/api/v1/auth/personal', { as: 'other-user' }),
      await h.request('PUT', '/api/v1/admin/policies/maas.enabled', {
        as: 'dev-admin',
        body: { value: true },
      }),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 503, body: { code: 'service_unavailable' } });
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(Object.keys(answer.body as object).sort()).toEqual(['code', 'correlation_id', 'message']);
    }
    expect(
      await h.internal('GET', '/internal/v1/nodes/0a000000-0000-4000-8000-000000000001/tasks/wait', {
        token: 'x',
      }),
    ).toMatchObject({
      status: 503,
      body: { code: 'service_unavailable' },
    });
    expect(await readiness()).toMatchObject({
      status: 503,
      parts: { postgres: { ok: false }, temporal: { ok: true } },
    });
    expect((await h.request('GET', '/healthz')).status).toBe(200);
    await h.stack.parts.postgres.start();
    await until(async () => expect((await readiness()).status).toBe(200));
    expect(
      (await h.request('POST', '/api/v1/projects', { as: 'dev-user', body: { name: 'p-down' } })).status,
    ).toBe(201);
  }, 120_000);
});

describe('Temporal away', () => {
  it('not ready, ready again after its return; a client that starts meanwhile finds it later', async () => {
    await h.stack.parts.temporal.stop();
    expect(await readiness()).toMatchObject({
      status: 503,
      parts: { temporal: { ok: false, required: true } },
    });
    const late = openTemporal(h.config.temporal);
    const describeIt = () =>
      late.withDeadline(Date.now() + 1000, () =>
        late.workflowService.describeNamespace({ namespace: h.config.temporal.namespace }),
      );
    await expect(describeIt()).rejects.toThrow();
    await h.stack.parts.temporal.start();
    await until(async () => expect((await readiness()).status).toBe(200));
    await until(async () =>
      expect((await describeIt()).namespaceInfo?.name).toBe(h.config.temporal.namespace),
    );
    await late.connection.close();
  }, 120_000);
});

describe('a client of Temporal that is closed', () => {
  it('while its calls are being retried leaves no timer that throws', async () => {
    const uncaught: unknown[] = [];
    const onUncaught = (error: unknown) => void uncaught.push(error);
    process.on('uncaughtException', onUncaught);
    const client = openTemporal({ address: '127.0.0.1:9', namespace: 'none' });
    const calls = Array.from({ length: 5 }, () =>
      client.workflowService.describeNamespace({ namespace: 'none' }).catch((error: unknown) => error),
    );
    await new Promise((resolve) => setImmediate(resolve));
    await client.connection.close();
    // Every call has its answer: none waits for a timer of the closed channel.
    for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(Error);
    process.off('uncaughtException', onUncaught);
    expect(uncaught).toEqual([]);
  });
});

describe('Redis or the issuer away', () => {
  it('still ready, and says so by name; each part is bounded to a second', async () => {
    await h.stack.parts.redis.kill();
    await h.issuer().stop();
    const { status, parts } = await readiness();
    expect(status).toBe(200);
    expect(parts).toMatchObject({
      redis: { ok: false, required: false },
      issuer: { ok: false, required: false },
    });
    for (const part of Object.values(parts)) expect(part.latency_ms).toBeLessThan(3000);
    await h.stack.parts.redis.start();
    await h.restartIssuer();
    await until(async () =>
      expect((await readiness()).parts).toMatchObject({ redis: { ok: true }, issuer: { ok: true } }),
    );
  }, 120_000);
});
