import { uuid5 } from '../../../contracts/uuid5.ts';
import type { Database, Tx } from '../../../db/client.ts';
import { recordDeadLetter, type ArrivedLetter } from '../../../db/ops/dead-letter.store.ts';
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

/** Stores an alert with the caller's transaction; what it returns is done after the commit. */
export type AlertOperators = (tx: Tx, alert: OperatorAlert) => Promise<AfterCommit | undefined>;

/** The DLQ desk: one row per dead letter, and an alert for every arrival. */
export function deadLetterDesk(deps: {
  readonly db: Database;
  readonly alertOperators: AlertOperators;
}): (letter: ArrivedLetter) => Promise<void> {
  return async (letter) => {
    const after = await deps.db.tx(async (tx) => {
      const { id, arrival } = await recordDeadLetter(tx, letter);
      if (arrival === 'known') return undefined;
      return await deps.alertOperators(tx, {
        eventId: uuid5('dead-letter-arrival', id, String(letter.dlqSeq), letter.lastAt.toISOString()),
        subject: `dlq.${letter.subject}`,
        severity: 'error',
        title: arrival === 'first' ? 'An event was given up' : 'A replayed event was given up again',
        message: `${letter.consumer} gave up ${letter.subject}: ${letter.reason} (${letter.errorCode ?? 'no code'}). Dead letter ${id}.`,
        correlationId: letter.correlationId ?? id,
        occurredAt: letter.lastAt,
      });
    });
    await after?.();
  };
}
