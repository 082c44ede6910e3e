/** What tests of outages and losses commit and look at. */
import { randomUUID } from 'node:crypto';
import { publish } from '../../db/outbox.ts';
import type { FoundEffect } from '../harness/event-auditor.ts';
import type { TrialChannel } from './consuming.ts';
import type { World } from './fixture.ts';

/** Commits events to the outbox; the relay brings them to the stream. @returns their ids. */
export async function commitTrials(world: World, of: TrialChannel, count: number): Promise<string[]> {
  return await world.db.tx(async (tx) => {
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) {
      ids.push(
        await publish(tx, of, {
          payload: { n },
          idempotencyKey: [of.subject, randomUUID()],
          aggregateId: randomUUID(),
          aggregateSeq: 1,
          correlationId: 'outage-test',
          occurredAt: new Date(),
        }),
      );
    }
    return ids;
  });
}
/** The effects that these consumers owe. */
export const owedBy = (consumers: readonly string[], ids: readonly string[]): FoundEffect[] =>
  consumers.flatMap((consumer) => ids.map((eventId) => ({ consumer, eventId })));
