/** One issuer process as its starter sees it: where it serves and how it ends. */
import type { ManagedProcess } from '../process.ts';

const PROBE_TIMEOUT_MS = 2_000;

export interface IssuerHandle {
  /** The issuer identifier, `http://127.0.0.1:<port>/realms/gpuaas`. */
  readonly issuerUrl: string;
  readonly pid: number;
  /** Ends it gracefully, by force after a while; resolves when it is gone. Safe to call twice. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/**
 * Waits until the issuer answers with its discovery document and hands it over. A process that does not get
 * ready is killed, and the error carries the end of its log.
 */
export async function issuerReady(
  managed: ManagedProcess,
  issuerUrl: string,
  limits: { readyTimeoutMs: number; stopGraceMs: number },
): Promise<IssuerHandle> {
  const probe = async (): Promise<void> => {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    const answer = await fetch(`${issuerUrl}/.well-known/openid-configuration`, { signal });
    await answer.body?.cancel();
    if (answer.status !== 200) throw new Error(`discovery answered ${answer.status}`);
  };
  try {
    await managed.ready(probe, limits.readyTimeoutMs);
  } catch (error) {
    await managed.kill();
    throw error;
  }
  return {
    issuerUrl,
    pid: managed.pid,
    stop: () => managed.stop('SIGTERM', limits.stopGraceMs),
    kill: () => managed.kill(),
  };
}
