import { adminListDeadLetters } from '../../../contracts/ops/dead-letter.api.ts';
import { uuid5 } from '../../../contracts/uuid5.ts';
import type { Database, Tx } from '../../../db/client.ts';
import { readNow } from '../../../db/clock.ts';
import {
  recordDeadLetter,
  type ArrivedLetter,
  type LetterArrival,
} from '../../../db/ops/dead-letter.store.ts';
import type { PolicyReader } from '../../../db/ops/policy.store.ts';
import type { AfterCommit } from '../subscription.ts';

/** Something that operators must hear of. */
export interface OperatorAlert {
  readonly eventId: string;
  readonly subject: string;
  readonly severity: 'info' | 'warning' | 'error';
  readonly title: string;
  readonly message: string;
  readonly correlationId: string;
  readonly occurredAt: Date;
}

/**
 * Stores an alert with the caller's transaction, one for each event id; what it returns is done after the commit, and is
 * undefined when the alert is there already.
 */
export type AlertOperators = (tx: Tx, alert: OperatorAlert) => Promise<AfterCommit | undefined>;

/** A letter that was written down. */
interface Recorded {
  readonly letter: ArrivedLetter;
  readonly id: string;
  readonly arrival: Exclude<LetterArrival, 'known'>;
}

/** A span of time in which letters of a kind share one alert. */
interface AlertWindow {
  readonly startedAt: Date;
  readonly endsAt: Date;
}

/**
 * The DLQ desk: one row per dead letter, and an alert for the first arrival of each consumer, reason and kind (new, or
 * given up again) in a window of `dead_letter.alert_window_seconds`. The alert's id follows from these, so any number of
 * desks agree without counting.
 */
export function deadLetterDesk(deps: {
  readonly db: Database;
  readonly policies: Pick<PolicyReader, 'get'>;
  readonly alertOperators: AlertOperators;
}): (letter: ArrivedLetter) => Promise<void> {
  return async (letter) => {
    // Before the transaction: it may need a connection of its own.
    const windowSeconds = await deps.policies.get('dead_letter.alert_window_seconds');
    const after = await deps.db.tx(async (tx) => {
      const { id, arrival } = await recordDeadLetter(tx, letter);
      if (arrival === 'known') return undefined;
      const window = windowSeconds === 0 ? undefined : windowAt(await readNow(tx), windowSeconds);
      return await deps.alertOperators(tx, alertOf({ letter, id, arrival }, window));
    });
    await after?.();
  };
}

function windowAt(now: Date, seconds: number): AlertWindow {
  const lengthMs = seconds * 1000;
  const startMs = Math.floor(now.getTime() / lengthMs) * lengthMs;
  return { startedAt: new Date(startMs), endsAt: new Date(startMs + lengthMs) };
}

function alertOf(recorded: Recorded, window: AlertWindow | undefined): OperatorAlert {
  const { letter, id, arrival } = recorded;
  const gaveUp = `${letter.consumer} gave up ${letter.subject}: ${letter.reason} (${letter.errorCode ?? 'no code'}).`;
  return {
    eventId: alertId(recorded, window),
    subject: `dlq.${letter.subject}`,
    severity: 'error',
    title: arrival === 'first' ? 'An event was given up' : 'A replayed event was given up again',
    message: `${gaveUp} Dead letter ${id}.${window === undefined ? '' : ` ${silenceOf(recorded, window)}`}`,
    correlationId: letter.correlationId ?? id,
    occurredAt: letter.lastAt,
  };
}

function alertId({ letter, id, arrival }: Recorded, window: AlertWindow | undefined): string {
  if (window === undefined)
    return uuid5('dead-letter-arrival', id, String(letter.dlqSeq), letter.lastAt.toISOString());
  // With its end: another length by policy makes another window, also where both begin at once.
  const span = [window.startedAt.toISOString(), window.endsAt.toISOString()] as const;
  return uuid5('dead-letter-alert', letter.consumer, letter.reason, arrival, ...span);
}

/** What the alert stands for beside its own letter, and where the others are listed. */
function silenceOf({ letter: { consumer, reason }, arrival }: Recorded, { endsAt }: AlertWindow): string {
  const others = arrival === 'first' ? 'More events' : 'More replayed events';
  const filter = new URLSearchParams({ state: 'open', consumer, reason });
  return (
    `${others} that it gives up for this reason before ${endsAt.toISOString()} raise no alert of their own: ` +
    `GET ${adminListDeadLetters.path}?${filter.toString()} lists them.`
  );
}
