/**
 * The embedded development issuer as a process.
 *
 * Environment: ISSUER_PORT (default 8080), ISSUER_HOST (default 127.0.0.1, loopback only), ISSUER_STATE_DIR
 * (required: keys and sessions), ISSUER_ACCESS_TOKEN_TTL_SECONDS (default 300), GPUAAS_ENV (refuses `production`).
 * Prints one JSON line `{"event":"listening","issuer_url":"..."}` when it serves. Exit code 1: refused to start.
 */
import { REALM } from './realm.ts';
import { serveIssuer } from './server.ts';

const DEFAULT_PORT = 8080;

function positiveInteger(name: string, fallback: number, maximum: number): number {
  const text = process.env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > maximum) {
    throw new Error(`${name} must be a whole number from 1 to ${maximum}`);
  }
  return value;
}

async function main(): Promise<void> {
  const stateDir = process.env['ISSUER_STATE_DIR'];
  if (stateDir === undefined || stateDir === '') throw new Error('ISSUER_STATE_DIR is not set');
  const { issuerUrl, server } = await serveIssuer({
    port: positiveInteger('ISSUER_PORT', DEFAULT_PORT, 65_535),
    host: process.env['ISSUER_HOST'] ?? '127.0.0.1',
    stateDir,
    accessTokenTtlSeconds: positiveInteger(
      'ISSUER_ACCESS_TOKEN_TTL_SECONDS',
      REALM.accessTokenTtlSeconds,
      REALM.sessionTtlSeconds,
    ),
    environment: process.env['GPUAAS_ENV'],
  });
  const shutDown = (): void => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  };
  process.once('SIGTERM', shutDown);
  process.once('SIGINT', shutDown);
  process.stdout.write(`${JSON.stringify({ event: 'listening', issuer_url: issuerUrl })}\n`);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : 'the issuer could not start');
  process.exit(1);
});
