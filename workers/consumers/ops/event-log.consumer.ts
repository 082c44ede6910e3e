import { channels } from '../../../contracts/channels.ts';
import type { AnyChannel } from '../../../contracts/envelope.ts';
import { logEvent } from '../../../db/ops/event.store.ts';
import { record, type Subscription } from '../subscription.ts';

/** The read side's log has every event of every channel. */
export const eventLogSubscriptions = (): Subscription[] =>
  channels.map((channel: AnyChannel) => logOf(channel));

const logOf = (channel: AnyChannel): Subscription =>
  record('event-log', channel, (q, consumer, { event, stream, streamSeq }) =>
    logEvent(q, consumer, {
      eventId: event.event_id,
      subject: channel.subject,
      version: event.version,
      correlationId: event.correlation_id,
      occurredAt: new Date(event.occurred_at),
      payload: event.payload,
      stream,
      streamSeq,
    }),
  );
