import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tryLock } from './locks.ts';
import { describePortHolder } from './process-table.ts';

/** Free ports come from here: below the range that outgoing connections use. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
/** A server that was told to end a moment ago may need this long to let its port go. */
const RELEASE_DEADLINE_MS = 3_000;
const POLL_MS = 50;
const CONNECT_TIMEOUT_MS = 2_000;

/** A port that no other stack on this machine is given until release(). */
export interface ReservedPort {
  readonly port: number;
  release(): void;
}

/** True when 127.0.0.1:port can be listened on now. */
function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** True when a TCP connection to the address is accepted now. */
export function acceptsConnections(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const answer = (accepted: boolean): void => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => answer(false));
  });
}

/**
 * Reserves a free port in 20000 to 32000. The reservation is a lock file, so two stacks that start at
 * the same moment never get the same one; it lapses with this process.
 * @throws Error when no port of the range is free.
 */
export async function reserveFreePort(purpose: string): Promise<ReservedPort> {
  const folder = path.join(tmpdir(), `gpuaas-ports-${process.getuid?.() ?? 'user'}`);
  const span = LAST_PORT - FIRST_PORT;
  const offset = Math.floor(Math.random() * span);
  for (let tried = 0; tried < span; tried += 1) {
    const port = FIRST_PORT + ((offset + tried) % span);
    const lock = tryLock(path.join(folder, String(port)), purpose);
    if (!('release' in lock)) continue;
    if (await isPortFree(port)) return { port, release: () => lock.release() };
    lock.release();
  }
  throw new Error(`no free port between ${FIRST_PORT} and ${LAST_PORT}`);
}

/**
 * Checks that a configured port is free, waiting briefly for a server that is just ending.
 * @throws Error naming the holder.
 */
export async function assertPortFree(port: number, purpose: string): Promise<void> {
  const until = performance.now() + RELEASE_DEADLINE_MS;
  while (!(await isPortFree(port))) {
    if (performance.now() > until) {
      throw new Error(
        `port ${port} (${purpose}) is taken by ${describePortHolder(port)}: stop it, or change temporal-dev.yaml`,
      );
    }
    await delay(POLL_MS);
  }
}
