/**
 * A process of consumers with one subscription to a channel of a test, that misbehaves on order: it dies at a given
 * moment, or holds its first message.
 */
import { createServer } from 'node:http';
import { createLogger } from '../../activities/platform/logging.ts';
import { connectNats } from '../../activities/platform/nats.ts';
import { openDatabase } from '../../db/client.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import { deadLetterDesk } from '../../workers/consumers/ops/dead-letter.consumer.ts';
import { ConsumerRuntime } from '../../workers/consumers/runtime.ts';
import { fastBackoff } from '../harness/lab-consumers.ts';
import { recording, trialChannel, trialStreamOf, trialStreams } from './consuming.ts';

const need = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`no ${name}`);
  return value;
};
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
};

const moment = need('TRIAL_MOMENT');
const of = trialChannel(need('TRIAL_NAME'), {
  ackWaitSeconds: Number(need('TRIAL_ACK_WAIT_SECONDS')),
  maxDeliver: Number(need('TRIAL_MAX_DELIVER')),
});
const log = createLogger({ process: 'trial-consumers', level: 'info' });
const db = openDatabase({ url: need('DATABASE_URL'), applicationName: 'trial-consumers' });
const nc = await connectNats({ url: need('NATS_URL'), name: 'trial-consumers' });
if (moment === 'after-dlq') {
  const made = nc.jetstream.bind(nc);
  nc.jetstream = (options) => {
    const js = made(options);
    const publish = js.publish.bind(js);
    js.publish = async (subject, data, given) => {
      const ack = await publish(subject, data, given);
      if (subject.startsWith('dlq.')) die();
      return ack;
    };
    return js;
  };
}
let release: () => void = () => undefined;
const released = new Promise<void>((resolve) => (release = resolve));

const runtime = new ConsumerRuntime(
  {
    db,
    nc,
    log,
    subscriptions: [
      recording(
        'billing',
        of,
        async ({ n, delivery }) => {
          log.info({ n, delivery }, 'handler runs');
          if (moment === 'in-handler') die();
          if (moment === 'after-dlq') throw new Error('never');
          if (moment === 'hold') await released;
        },
        () => {
          if (moment === 'after-commit') die();
        },
      ),
    ],
    writeDown: deadLetterDesk({
      db,
      policies: createPolicyReader(db.q),
      alertOperators: () => Promise.resolve(undefined),
    }),
    probeTarget: () => Promise.resolve(),
  },
  {
    streams: {
      environment: 'test',
      duplicateWindowMs: Number(need('OUTBOX_DUPLICATE_WINDOW_MS')),
      declared: trialStreams,
    },
    streamOf: trialStreamOf,
    backoff: fastBackoff,
    slots: Number(process.env['TRIAL_SLOTS'] ?? 16),
  },
);
await runtime.start();
const door = createServer((_request, response) => {
  release();
  response.end('released\n');
});
await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
log.info({ metrics: door.address() }, 'event consumers run');

process.once('SIGTERM', () => {
  log.info('told to end');
  void (async () => {
    await runtime.stop(20_000);
    await nc.drain();
    await db.close();
    process.exit(0);
  })();
});
