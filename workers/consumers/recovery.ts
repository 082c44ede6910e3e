/** Streams and durables as the contract wants them, at start and after somebody took them away. */
import { headers, type NatsConnection } from 'nats';
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
import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import { owedEvents, republishOwed, type Owing, type RepublishedPage } from '../../db/ops/event.store.ts';
import { replaySubject, streams as declaredStreams } from '../../contracts/streams.ts';
import { correlationHeader } from './dead-letters.ts';
import type { ConsumerMetrics } from './metrics.ts';
import type { Durable } from './plan.ts';

/** Rows of the outbox that one statement looks at. */
const republishPage = 2000;
/** The same, where their bodies come along. */
const owedPage = 500;

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
    const { events, letters } = owedBy(durables, lost);
    const republished = await republish(db, events);
    const sentAgain = await sendAgain(deps, letters);
    metrics.putBack(republished + sentAgain);
    log.warn(
      { streams: lost, republished, sent_again: sentAgain },
      'streams were empty: what is owed is sent',
    );
    const at = await readNow(db.q);
    for (const name of lost) await markStream(nc, name, at);
  }
  return [...reports.streams, ...reports.consumers].filter((one) => one.action === 'created').length;
}

/** A consumer that may owe, and the group whose replays it reads. */
interface Debtor extends Owing {
  readonly group: string;
}

/**
 * Who may have lost an event with these streams: whoever read them. With the DLQ went letters that nobody had written
 * down yet, and with ADVISORIES what would have become letters: then every other consumer may, of events that its
 * stream still holds and will not deliver again.
 */
function owedBy(
  durables: readonly Durable[],
  lost: readonly string[],
): { readonly events: readonly Debtor[]; readonly letters: readonly Debtor[] } {
  const lettersLost = lost.includes('DLQ') || lost.includes('ADVISORIES');
  const [events, letters]: [Debtor[], Debtor[]] = [[], []];
  for (const one of durables) {
    if (one.kind !== 'subject') continue;
    const { stream, name, filterSubject } = one.declared;
    const debtor = { consumer: name, subject: filterSubject, group: one.subscription.group };
    if (lost.includes(stream)) events.push(debtor);
    else if (lettersLost) letters.push(debtor);
  }
  return { events, letters };
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

/**
 * Sends each consumer what it owes the way replays go, past its own stream, which remembers the event's id. What it is
 * about to consume anyway finds its effect there, or the other does.
 */
async function sendAgain(
  { nc, db }: Pick<TopologyDeps, 'nc'> & { db: Database },
  debtors: readonly Debtor[],
) {
  if (debtors.length === 0) return 0;
  const groups = new Map(debtors.map(({ consumer, group }) => [consumer, group]));
  const js = nc.jetstream();
  let total = 0;
  for (let after: number | null = 0; after !== null;) {
    const page: Awaited<ReturnType<typeof owedEvents>> = await owedEvents(db.q, debtors, after, owedPage);
    assertNoConnectionHeld('nats');
    for (const owed of page.owed) {
      const { correlation_id: correlationId } = owed.body;
      const extra = headers();
      if (typeof correlationId === 'string') extra.set(correlationHeader, correlationId);
      if (owed.traceparent !== null) extra.set('traceparent', owed.traceparent);
      const subject = replaySubject(groups.get(owed.consumer) ?? '', owed.subject);
      const msgID = `${owed.eventId}/${owed.consumer}/owed`;
      await js.publish(subject, JSON.stringify(owed.body), { msgID, headers: extra });
    }
    total += page.owed.length;
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
