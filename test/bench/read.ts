/** GET of one allocation: the product's API against a bare handler that reads the same row. */
import path from 'node:path';
import autocannon from 'autocannon';
import type { Platform } from '../../workers/local/platform.ts';
import { reserveFreePort } from '../../workers/local/ports.ts';
import { Service } from '../../workers/local/service.ts';

export interface ReadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const connections = 10;

/**
 * Loads one URL.
 * @throws Error when an answer is not 200.
 */
export async function loadUrl(url: string, seconds: number, token?: string): Promise<ReadResult> {
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
  });
  const others = result.non2xx + result.errors + result.timeouts;
  if (others > 0)
    throw new Error(`${others} requests of ${result.requests.total} to ${url} were not answered with 200`);
  return { perSecond: result.requests.average, p50Ms: result.latency.p50, p99Ms: result.latency.p99 };
}

/** Starts the bare handler as a process on the stack's database. */
export async function startBareServer(platform: Platform): Promise<{ service: Service; url: string }> {
  const { port } = await reserveFreePort('bare server');
  const url = `http://127.0.0.1:${port}/allocations`;
  const service = new Service({
    name: 'bare-server',
    entry: 'test/bench/bare-server.ts',
    logDir: path.join(platform.stack.stateDir, 'logs'),
    env: { DATABASE_URL: platform.env['DATABASE_URL'] ?? '', BARE_PORT: String(port) },
    nodeArgs: ['--enable-source-maps'],
    probe: async () => {
      const answer = await fetch(`${url}/00000000-0000-4000-8000-000000000000`, {
        signal: AbortSignal.timeout(2000),
      });
      if (answer.status !== 404) throw new Error(`answered ${answer.status}`);
    },
  });
  await service.start();
  return { service, url };
}
