/**
 * Streams and durable consumers against the contract, for operators. `--check` changes nothing. Exit code 0: equal (or
 * brought up to it); 1: something differs; 2: JetStream cannot be reached.
 */
import { NatsError } from 'nats';
import { z } from 'zod';
import { connectNats } from '../../activities/platform/nats.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { consumersEnvironmentSchema } from '../../contracts/environment.worker.api.ts';
import { openDatabase } from '../../db/client.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { allSubscriptions } from './compose.ts';
import { planDurables } from './plan.ts';
import { reconcileTopology } from './recovery.ts';

const connectTimeoutMs = 5000;
const connectionSchema = consumersEnvironmentSchema
  .unwrap()
  .pick({ GPUAAS_ENV: true, NATS_URL: true, NATS_CREDS_FILE: true, OUTBOX_DUPLICATE_WINDOW_MS: true });

interface Line {
  readonly kind: string;
  readonly name: string;
  readonly action: string;
  readonly differences: readonly { field: string; declared: string; actual: string; applied: boolean }[];
}

async function main(check: boolean): Promise<number> {
  const parsed = connectionSchema.safeParse(process.env);
  if (!parsed.success) {
    process.stderr.write(`events: ${z.prettifyError(parsed.error)}\n`);
    return 78;
  }
  const env = parsed.data;
  try {
    const nc = await connectNats({
      url: env.NATS_URL,
      credsFile: env.NATS_CREDS_FILE,
      name: 'events-reconcile',
      retry: 'none',
      timeoutMs: connectTimeoutMs,
    });
    try {
      const { streams, consumers } = await reconcileTopology(
        {
          nc,
          durables: declaredDurables(),
          streams: {
            environment: env.GPUAAS_ENV,
            duplicateWindowMs: env.OUTBOX_DUPLICATE_WINDOW_MS,
          },
        },
        !check,
      );
      return print(check, [
        ...streams.map((one) => ({ ...one, kind: 'stream', name: one.stream })),
        ...consumers.map((one) => ({ ...one, kind: 'consumer', name: `${one.stream}/${one.consumer}` })),
      ]);
    } finally {
      await nc.close();
    }
  } catch (error) {
    const refused = error instanceof NatsError && error.isAuthError();
    process.stderr.write(
      refused
        ? 'events: NATS refuses the credentials\n'
        : `events: ${error instanceof Error ? error.name : 'unknown'}: JetStream cannot be reached\n`,
    );
    return 2;
  }
}

/** The subscriptions are only read: nothing is connected. */
function declaredDurables() {
  const db = openDatabase({ url: 'postgres://127.0.0.1:1/none', applicationName: 'events-reconcile' });
  const temporal = openTemporal({ address: '127.0.0.1:1', namespace: 'none' });
  // Nothing is consumed here: only what would be is looked at.
  const notifier = createNotifier(() => Promise.resolve());
  const notifications = { notifier, policies: createPolicyReader(db.q), publicUrl: undefined };
  return planDurables(allSubscriptions({ db, temporal, notifications }));
}

/** @returns the exit code. */
function print(check: boolean, lines: readonly Line[]): number {
  const width = Math.max(...lines.map(({ name }) => name.length));
  for (const { kind, name, action, differences } of lines) {
    process.stdout.write(`${kind.padEnd(8)}  ${name.padEnd(width)}  ${action}\n`);
    for (const { field, declared, actual, applied } of differences) {
      const left = !check && !applied ? ', left as it is' : '';
      process.stdout.write(`${' '.repeat(10)}${field}: declared ${declared}, found ${actual}${left}\n`);
    }
  }
  const open = lines.filter(({ action, differences }) =>
    check
      ? action !== 'unchanged' || differences.length > 0
      : action === 'undeclared' || differences.some((one) => !one.applied),
  );
  process.stdout.write(
    open.length === 0 ? 'equal to the contract\n' : `${open.length} differ from the contract\n`,
  );
  return open.length === 0 ? 0 : 1;
}

process.exit(await main(process.argv.includes('--check')));
