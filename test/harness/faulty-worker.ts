/** The production worker as a process of its own, with an interceptor that lets a test do harm to its activities. */
import { parseEnvironment } from '../../contracts/environment.api.ts';
import { workerEnvironmentSchema } from '../../contracts/environment.worker.api.ts';
import { runWorker } from '../../workers/worker.ts';
import { faultInterceptor } from './fault-interceptor.ts';
import { connectToPlan } from './fault-socket.ts';

const socketFile = process.env['FAULT_SOCKET'];
if (socketFile === undefined) throw new Error('FAULT_SOCKET is not set');
const link = await connectToPlan(socketFile);

/** Nothing of this process runs after it. */
function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return new Promise<never>(() => undefined);
}

await runWorker(parseEnvironment(workerEnvironmentSchema, process.env), {
  interceptors: { activity: [faultInterceptor(link, die)] },
});
process.exit(0);
