/**
 * The `api` process: the public listener and that of the node-agents. SIGTERM and SIGINT drain it and end it with 0.
 * Its environment is `contracts/environment.api.ts`.
 */
import { createLogger } from '../activities/platform/logging.ts';
import { describeError } from '../activities/platform/sanitise.ts';
import { startTracing } from '../activities/platform/tracing.ts';
import { readApiConfig } from '../contracts/environment.api.ts';
import { startApi } from './compose.ts';

async function main(): Promise<void> {
  const config = readApiConfig(process.env);
  const log = createLogger({ process: 'api', level: config.logLevel });
  const tracing = await startTracing({
    process: 'api',
    env: process.env,
    onLoss: (err) => log.warn({ err }, 'spans are lost'),
  });
  const api = await startApi(config, log);
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'draining');
    const ended = api.stop().then(() => tracing.stop());
    ended.then(
      () => process.exit(0),
      (err: unknown) => {
        log.error({ err }, 'drain failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  log.info({ public_url: api.publicUrl, internal_url: api.internalUrl }, 'api ready');
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${JSON.stringify({ level: 'fatal', message: 'api cannot start', err: describeError(error) })}\n`,
  );
  process.exit(1);
});
