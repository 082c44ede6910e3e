/** Fan-out of notifications to many sockets: API and clients share this process, so both are in the figures. */
import { uuid5 } from '../../contracts/uuid5.ts';
import type { SocketClient } from '../harness/sockets.ts';
import { notice, operators, startNotices, type Notices, type Person } from '../notifications/fixture.ts';
import { summarise, type Summary } from './stats.ts';

export interface FanOutReport {
  readonly sockets: number;
  /** Ms from the commit of one operators' alert to its arrival at each admin's socket. */
  readonly alertToAllMs: Summary;
  /** Ms from the commit of a user's own notification to its arrival; a hundred users at once. */
  readonly ownToEachMs: Summary;
  readonly connectMs: number;
}

export interface FanOutOptions {
  readonly sockets: number;
  readonly alerts: number;
}

const connectsAtOnce = 50;
const usersAtOnce = 100;

/** Opens the sockets of as many admins, then measures. Everything it starts is gone afterwards. */
export async function measureFanOut({ sockets, alerts }: FanOutOptions): Promise<FanOutReport> {
  const n = await startNotices();
  try {
    const people: Person[] = [];
    for (let i = 0; i < sockets; i += 1) people.push(await n.person(['user', 'admin']));
    const startedAt = performance.now();
    const clients = await connectAll(n, people);
    const connectMs = Math.round(performance.now() - startedAt);
    const arrivals = watch(clients);
    const toAll = await measure(n, arrivals, Array<string[]>(alerts).fill([operators]), sockets);
    const toEach = await measure(n, arrivals, chunks(people.map(({ id }) => id)), 1);
    await Promise.all(clients.map((client) => client.close()));
    return { sockets, alertToAllMs: summarise(toAll), ownToEachMs: summarise(toEach), connectMs };
  } finally {
    await n.stop();
  }
}

const chunks = (ids: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(ids.length / usersAtOnce) }, (_, i) =>
    ids.slice(i * usersAtOnce, (i + 1) * usersAtOnce),
  );

async function connectAll(n: Notices, people: readonly Person[]): Promise<SocketClient[]> {
  const clients: SocketClient[] = [];
  for (let i = 0; i < people.length; i += connectsAtOnce) {
    const wave = people.slice(i, i + connectsAtOnce);
    clients.push(...(await Promise.all(wave.map((person) => n.open(person)))));
  }
  return clients;
}

/** When each notification arrived anywhere, by id. */
interface Arrivals {
  readonly at: Map<string, number[]>;
  /** Resolves when so many arrivals of an id are there. */
  until(id: string, count: number): Promise<void>;
}

function watch(clients: readonly SocketClient[]): Arrivals {
  const at = new Map<string, number[]>();
  const waiting = new Map<string, { readonly count: number; readonly resolve: () => void }>();
  for (const { ws } of clients) {
    ws.on('message', (data: Buffer) => {
      const now = performance.now();
      const { id } = JSON.parse(data.toString('utf8')) as { id: string };
      const times = at.get(id) ?? [];
      times.push(now);
      at.set(id, times);
      const waiter = waiting.get(id);
      if (waiter !== undefined && times.length >= waiter.count) waiter.resolve();
    });
  }
  return {
    at,
    until: (id, count) =>
      (at.get(id)?.length ?? 0) >= count
        ? Promise.resolve()
        : new Promise((resolve) => waiting.set(id, { count, resolve })),
  };
}

/** Stores one batch after the other; each waits until it has arrived everywhere. */
async function measure(
  n: Notices,
  arrivals: Arrivals,
  batches: readonly (readonly string[])[],
  receivers: number,
): Promise<number[]> {
  const measured: number[] = [];
  for (const batch of batches) {
    const list = batch.map((recipient) => notice(recipient));
    const announce = await n.h.db.tx((tx) => n.notifier.notify(tx, list));
    const committedAt = performance.now();
    await announce?.();
    for (const { eventId, recipient } of list) {
      const id = uuid5('notification', eventId, recipient);
      await arrivals.until(id, receivers);
      measured.push(...(arrivals.at.get(id) ?? []).map((time) => time - committedAt));
    }
  }
  return measured;
}

const line = (what: string, { p50, p99, count }: Summary): string =>
  `${what.padEnd(44)} p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (${count} arrivals)`;

/** The report as text. */
export const renderFanOut = (report: FanOutReport): string =>
  [
    `${report.sockets} sockets, open after ${report.connectMs} ms`,
    line('one alert to all of them', report.alertToAllMs),
    line('own notifications, 100 users at once', report.ownToEachMs),
  ].join('\n');
