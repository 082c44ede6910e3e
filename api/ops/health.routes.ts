import { sql } from 'drizzle-orm';
import { CodedError } from '../../contracts/errors.ts';
import { getHealthz, getReadyz } from '../../contracts/ops/health.api.ts';
import type { ApiDeps } from '../deps.ts';
import { route, type Route } from '../route.ts';

interface Part {
  readonly ok: boolean;
  readonly latency_ms: number;
  readonly required: boolean;
  readonly error: string | null;
}

interface Probe {
  readonly required: boolean;
  readonly ask: (signal: AbortSignal) => Promise<unknown>;
}

const probeTimeoutMs = 1000;

/** Liveness and readiness. Probes that come together share one look at the parts. */
export function healthRoutes(deps: ApiDeps): Route[] {
  let running: Promise<Record<string, Part>> | undefined;
  const look = (): Promise<Record<string, Part>> =>
    (running ??= askAll(probes(deps)).finally(() => {
      running = undefined;
    }));
  return [
    route(getHealthz, () => Promise.resolve({ status: 200, body: { status: 'ok' } })),
    route(getReadyz, async () => {
      const parts = await look();
      const ready = Object.values(parts).every((part) => part.ok || !part.required);
      if (!ready) throw new CodedError('service_unavailable', { details: { parts } });
      return { status: 200, body: { status: 'ready', parts } };
    }),
  ];
}

/** How each server is asked whether it works; also what the gauge of dependencies shows. */
export function dependencyProbes({ db, temporal, redis, config }: ApiDeps) {
  return {
    postgres: () => db.q.execute(sql`select 1`),
    temporal: () =>
      temporal.withDeadline(Date.now() + probeTimeoutMs, () =>
        temporal.workflowService.describeNamespace({ namespace: config.temporal.namespace }),
      ),
    redis: () => redis.ping(),
  };
}

function probes(deps: ApiDeps): Record<string, Probe> {
  const { tokens } = deps;
  const { postgres, temporal, redis } = dependencyProbes(deps);
  return {
    postgres: { required: true, ask: postgres },
    temporal: { required: true, ask: temporal },
    redis: { required: false, ask: redis },
    // Cached keys check tokens without the issuer.
    issuer: { required: !tokens.hasKeys(), ask: (signal) => tokens.probe(signal) },
  };
}

async function askAll(all: Record<string, Probe>): Promise<Record<string, Part>> {
  const parts = await Promise.all(
    Object.entries(all).map(async ([name, probe]) => [name, await ask(probe)] as const),
  );
  return Object.fromEntries(parts);
}

async function ask(probe: Probe): Promise<Part> {
  const startedAt = performance.now();
  const signal = AbortSignal.timeout(probeTimeoutMs);
  const late = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('timed out')), { once: true });
  });
  const error = await Promise.race([probe.ask(signal), late]).then(
    () => null,
    () => (signal.aborted ? 'timed out' : 'unreachable'),
  );
  const latencyMs = Math.round((performance.now() - startedAt) * 10) / 10;
  return { ok: error === null, latency_ms: latencyMs, required: probe.required, error };
}
