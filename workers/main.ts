/**
 * A worker process: every task queue in one process for local use, one queue each in production (`WORKER_QUEUES`). The
 * provisioning queue brings its reconcilers along.
 */
import { parseEnvironment } from '../contracts/environment.api.ts';
import { workerEnvironmentSchema } from '../contracts/environment.worker.api.ts';
import { runWorker } from './worker.ts';

await runWorker(parseEnvironment(workerEnvironmentSchema, process.env));
process.exit(0);
