/** Streams and durables as the contract wants them, at start and after somebody took them away. */
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import {
  consumerLag,
  reconcileConsumers,
  type ConsumerReport,
} from '../../activities/platform/nats-consumers.ts';
import {
  markStream,
  reconcileStreams,
  unmarkedStreams,
  type StreamOptions,
  type StreamReport,
} from '../../activities/platform/nats.ts';
import { readNow } from '../../db/clock.ts';
import type { Database } from '../../db/client.ts';
import { republishOwed, type Owing, type RepublishedPage } from '../../db/ops/event.store.ts';
import { streams as declaredStreams } from '../../contracts/streams.ts';
import type { ConsumerMetrics } from './metrics.ts';
import type { Durable } from './plan.ts';

/** Rows of the outbox that one statement looks at. */
const republishPage = 2000;

export interface TopologyDeps {
  readonly nc: NatsConnection;
  readonly log: Logger;
  readonly durables: readonly Durable[];
  readonly streams: Omit<StreamOptions, 'apply'>;
}

/** Compares streams and durables with the contract and, unless told otherwise, brings them up to it. */
export async function reconcileTopology(
  { nc, durables, streams }: Pick<TopologyDeps, 'nc' | 'durables' | 'streams'>,
  apply = true,
): Promise<{ readonly streams: StreamReport[]; readonly consumers: ConsumerReport[] }> {
  const streamReports = await reconcileStreams(nc, { ...streams, apply });
  const present = new Set(streamReports.filter((one) => one.action !== 'missing').map((one) => one.stream));
  const declared = durables.map((one) => one.declared);
  const consumers = await reconcileConsumers(nc, {
    declared: declared.filter((one) => present.has(one.stream)),
    streams: [...present],
    apply,
  });
  const homeless = declared.filter((one) => !present.has(one.stream));
  return {
    streams: streamReports,
    consumers: [
      ...consumers,
      ...homeless.map(({ stream, name }) => ({
        stream,
        consumer: name,
        action: 'missing' as const,
        differences: [],
      })),
    ],
  };
}

/**
 * Makes what is missing, and has the outbox publish again what a lost stream took along: a stream without its mark may
 * have held messages that nobody had consumed. The mark is set when all of them are put back, so a crash in between
 * begins anew. @returns how many streams and durables were made.
 */
export async function restore(
  deps: TopologyDeps & { readonly db: Database; readonly metrics: ConsumerMetrics },
): Promise<number> {
  const { nc, log, db, metrics, durables } = deps;
  const reports = await reconcileTopology(deps);
  for (const report of [...reports.streams, ...reports.consumers]) {
    if (report.action === 'unchanged' && report.differences.length === 0) continue;
    log.info({ ...report }, 'reconciled with the contract');
  }
  const names = (deps.streams.declared ?? declaredStreams).map(({ name }) => name);
  const lost = await unmarkedStreams(nc, names);
  if (lost.length > 0) {
    const count = await republish(db, owedBy(durables, lost));
    metrics.putBack(count);
    log.warn(
      { streams: lost, republished: count },
      'streams were empty: unconsumed events are published again',
    );
    const at = await readNow(db.q);
    for (const name of lost) await markStream(nc, name, at);
  }
  return [...reports.streams, ...reports.consumers].filter((one) => one.action === 'created').length;
}

/**
 * Who may have lost an event with these streams. With the DLQ went letters that nobody had written down yet: then every
 * consumer may.
 */
function owedBy(durables: readonly Durable[], lost: readonly string[]): Owing[] {
  const any = lost.includes('DLQ') || lost.includes('ADVISORIES');
  return durables.flatMap((one) =>
    one.kind === 'subject' && (any || lost.includes(one.declared.stream))
      ? [{ consumer: one.declared.name, subject: one.declared.filterSubject }]
      : [],
  );
}

/** Page by page: a row that the relay has published again meanwhile is not put back a second time. */
async function republish(db: Database, owing: readonly Owing[]): Promise<number> {
  let total = 0;
  for (let after: number | null = 0; after !== null;) {
    const page: RepublishedPage = await republishOwed(db.q, owing, after, republishPage);
    total += page.count;
    after = page.lastId;
  }
  return total;
}

/** Reads how far each durable is behind. */
export async function sampleLag(
  nc: NatsConnection,
  durables: readonly Durable[],
  metrics: ConsumerMetrics,
): Promise<void> {
  const known = new Set(durables.map((one) => one.declared.name));
  for (const lag of await consumerLag(nc, new Set(durables.map((one) => one.declared.stream)))) {
    if (known.has(lag.consumer)) metrics.lag(lag.consumer, lag.waiting, lag.unacknowledged);
  }
}
