/** Starts the embedded development issuer as a child process that ends with its parent. */
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { assertPortFree } from '../ports.ts';
import { ManagedProcess } from '../process.ts';
import { issuerReady, type IssuerHandle } from './handle.ts';
import { issuerUrlFor } from './realm.ts';

const LIMITS = { readyTimeoutMs: 60_000, stopGraceMs: 5_000 };

export interface StartIssuerOptions {
  readonly port: number;
  /** Keys, sessions and the log are kept here, so tokens outlive a restart. */
  readonly stateDir: string;
  /** Lifetime of an access token; 300 s unless given. */
  readonly accessTokenTtlSeconds?: number;
}

/**
 * Starts the issuer and resolves once it serves. Rejects with the end of its log when it does not come up: the
 * port is taken, or GPUAAS_ENV is `production`.
 */
export async function startIssuer(options: StartIssuerOptions): Promise<IssuerHandle> {
  await assertPortFree(options.port, 'issuer');
  mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const environment = process.env['GPUAAS_ENV'];
  const ttl = options.accessTokenTtlSeconds;
  const managed = await ManagedProcess.start({
    name: 'issuer',
    command: process.execPath,
    args: ['--import', tsx, fileURLToPath(new URL('./main.ts', import.meta.url))],
    env: {
      ISSUER_PORT: String(options.port),
      ISSUER_STATE_DIR: options.stateDir,
      ...(ttl === undefined ? {} : { ISSUER_ACCESS_TOKEN_TTL_SECONDS: String(ttl) }),
      ...(environment === undefined ? {} : { GPUAAS_ENV: environment }),
    },
    logFile: path.join(options.stateDir, 'logs', 'issuer.log'),
    deathSignal: 'KILL',
  });
  return issuerReady(managed, issuerUrlFor(options.port), LIMITS);
}
