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
  type UnmarkedStream,
} from '../../activities/platform/nats.ts';
import { readNow } from '../../db/clock.ts';
import type { Database } from '../../db/client.ts';
import { republishOwed, type Owing, type RepublishedPage } from '../../db/ops/event.store.ts';
import { streams as declaredStreams } from '../../contracts/streams.ts';
import type { ConsumerMetrics } from './metrics.ts';
import { sendAgain, type Debtor } from './owed.ts';
import type { Durable } from './plan.ts';

/** Rows of the outbox that one statement looks at. */
const republishPage = 2000;
/** Streams without which nobody knows any more who was to get an event again. */
const letterStreams = ['DLQ', 'ADVISORIES', 'REPLAYS'];
/** A row is marked as published after its message is stored: by this much at most, while the database can be reached. */
const markedWithinMs = 300_000;

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
 * Makes what is missing, and puts back what was lost with it, page by page. A stream without its mark may have held
 * messages that nobody had consumed; the mark is set when all of them are put back, so a crash in between begins anew.
 * @returns how many streams and durables were made.
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
    const at = await readNow(db.q);
    const { events, letters, loss } = owedBy(durables, lost, at);
    const republished = await republish(db, events);
    const sentAgain = await sendAgain(deps, letters, loss);
    metrics.putBack(republished + sentAgain);
    log.warn(
      { streams: lost.map(({ name }) => name), republished, sent_again: sentAgain },
      'streams were empty: what is owed is sent',
    );
    for (const stream of lost) await markStream(nc, stream, at);
  }
  return [...reports.streams, ...reports.consumers].filter((one) => one.action === 'created').length;
}

/**
 * Who may have lost an event with these streams: whoever read them. With the DLQ went letters that nobody had written
 * down yet, with ADVISORIES what would have become letters, and with REPLAYS what was sent for either: then every other
 * consumer may, of events that its stream will not deliver again. Nothing is lost that was published after its stream
 * was made.
 */
function owedBy(
  durables: readonly Durable[],
  lost: readonly UnmarkedStream[],
  now: Date,
): { readonly events: readonly Owing[]; readonly letters: readonly Debtor[]; readonly loss: string } {
  const madeBy = ({ ageMs }: UnmarkedStream) => new Date(now.getTime() - ageMs + markedWithinMs);
  const streams = new Map(lost.map((one) => [one.name, one]));
  const newest = lost
    .filter(({ name }) => letterStreams.includes(name))
    .sort((a, b) => Date.parse(b.created) - Date.parse(a.created))[0];
  const [events, letters]: [Owing[], Debtor[]] = [[], []];
  for (const one of durables) {
    if (one.kind !== 'subject') continue;
    const { stream, name: consumer, filterSubject: subject } = one.declared;
    const own = streams.get(stream);
    if (own !== undefined) events.push({ consumer, subject, until: madeBy(own) });
    else if (newest !== undefined) {
      letters.push({ consumer, subject, until: madeBy(newest), group: one.subscription.group, stream });
    }
  }
  return { events, letters, loss: newest?.created ?? '' };
}

/** Has the relay publish again. A row that it has published meanwhile is not put back a second time. */
async function republish(db: Database, owing: readonly Owing[]): Promise<number> {
  if (owing.length === 0) return 0;
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
