/** Notifications over real Postgres and Redis: two replicas of the API, a writer as the consumers have it. */
import { randomUUID } from 'node:crypto';
import { openRedis } from '../../activities/platform/redis.ts';
import { createLogger } from '../../activities/platform/logging.ts';
import { startApi, type RunningApi } from '../../api/compose.ts';
import type { ApiConfig } from '../../contracts/environment.api.ts';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import type { PolicyKey } from '../../contracts/policies.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { createNotifier, type NewNotification, type Notifier } from '../../db/ops/notification.store.ts';
import { setPolicy } from '../../db/ops/policy.store.ts';
import type { PartName } from '../../workers/local/stack.ts';
import { startApiHarness, type ApiHarness } from '../harness/api.ts';
import { openSocket, type ConnectOptions, type SocketClient } from '../harness/sockets.ts';
import { until } from '../harness/lab.ts';

export interface Person {
  readonly id: string;
  readonly token: string;
}

export interface Notices {
  readonly h: ApiHarness;
  readonly replicas: readonly RunningApi[];
  readonly notifier: Notifier;
  /** Stores, then announces as a consumer does. @returns the id. */
  tell(recipient: string, change?: Partial<NewNotification>): Promise<string>;
  /** Many in one transaction. @returns their ids. */
  tellMany(recipients: readonly string[], change?: Partial<NewNotification>): Promise<string[]>;
  /** As `tell`, but the process dies before it announces. */
  tellSilently(recipient: string): Promise<string>;
  /** Somebody new. */
  person(roles?: readonly string[]): Promise<Person>;
  /** Opens a socket at a replica and waits until new notifications reach it. */
  open(person: Person, options?: ConnectOptions & { readonly replica?: number }): Promise<SocketClient>;
  metric(name: string, replica?: number): Promise<number>;
  stop(): Promise<void>;
}

export interface NoticesOptions {
  /** Settings of each replica; one with the usual settings when absent. */
  readonly replicas?: readonly Partial<ApiConfig['notifications']>[];
  readonly policies?: Partial<Record<PolicyKey, number | boolean>>;
  /** Servers; Postgres and Redis when absent. */
  readonly parts?: readonly PartName[];
}

/** Of fixed facts: the event is fresh unless given. */
export const notice = (recipient: string, change: Partial<NewNotification> = {}): NewNotification => ({
  recipient,
  eventId: randomUUID(),
  subject: 'gpuaas.provisioning.active',
  severity: 'info',
  type: 'info',
  title: 'A title',
  message: 'A message.',
  actionUrl: null,
  occurredAt: new Date(),
  ...change,
});

export async function startNotices(options: NoticesOptions = {}): Promise<Notices> {
  const h = await startApiHarness(options.parts === undefined ? {} : { parts: options.parts });
  const policies = { 'rate_limit.api_requests_per_minute': 1_000_000, ...options.policies };
  for (const [key, value] of Object.entries(policies)) {
    await h.db.tx((tx) => setPolicy(tx, key as PolicyKey, value));
  }
  /** Correlation ids of sockets that new notifications reach. */
  const following = new Set<string>();
  const quiet = createLogger(
    { process: 'replica', level: 'debug' },
    {
      write: (line: string) => {
        (h.log as string[]).push(line);
        if (!line.includes('notification socket opened')) return;
        following.add((JSON.parse(line) as { correlation_id: string }).correlation_id);
      },
    },
  );
  const replicas: RunningApi[] = [];
  for (const change of options.replicas ?? [{}]) {
    const notifications = { ...h.config.notifications, ...change };
    replicas.push(await startApi({ ...h.config, notifications }, quiet));
  }
  const redis = openRedis(h.config.redisUrl, 'notices');
  const notifier = createNotifier((channel, message) => redis.publish(channel, message));
  const store = async (recipient: string, change?: Partial<NewNotification>) => {
    const one = notice(recipient, change);
    const announce = await h.db.tx((tx) => notifier.notify(tx, [one]));
    return { id: uuid5('notification', one.eventId, recipient), announce };
  };
  const urlOf = (replica: number): string => replicas[replica]?.publicUrl ?? '';
  return {
    h,
    replicas,
    notifier,
    tell: async (recipient, change) => {
      const { id, announce } = await store(recipient, change);
      await announce?.();
      return id;
    },
    tellMany: async (recipients, change) => {
      const list = recipients.map((recipient) => notice(recipient, change));
      await (
        await h.db.tx((tx) => notifier.notify(tx, list))
      )?.();
      return list.map((one) => uuid5('notification', one.eventId, one.recipient));
    },
    tellSilently: async (recipient) => (await store(recipient)).id,
    person: async (roles = ['user']) => {
      const id = randomUUID();
      return { id, token: await h.forge({ sub: id, preferred_username: `u${id}`, realm_access: { roles } }) };
    },
    open: async (person, { replica = 0, ...wanted } = {}) => {
      const correlationId = randomUUID();
      const client = await openSocket(urlOf(replica), {
        ...(wanted.protocols === undefined ? { token: person.token } : {}),
        ...wanted,
        headers: { 'x-correlation-id': correlationId, ...wanted.headers },
      });
      await until('the socket follows', () => following.has(correlationId), { state: () => h.log.slice(-5) });
      return client;
    },
    metric: (name, replica = 0) => metricOf(urlOf(replica), name),
    stop: async () => {
      await Promise.all(replicas.map((replica) => replica.stop()));
      redis.disconnect();
      await h.stop();
    },
  };
}

export const operators = operatorsRecipient;

/** A sample of a metric without labels. */
async function metricOf(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}
