/** Saves what JetStream gave up on: the consumer died with the message in hand at its last delivery. */
import { NatsError, type JetStreamClient, type JetStreamManager, type StoredMsg } from 'nats';
import type { Logger } from 'pino';
import { z } from 'zod';
import { addresseeOf, storeLetter } from './dead-letters.ts';
import type { Durable } from './plan.ts';

const advisorySchema = z.object({
  timestamp: z.iso.datetime({ offset: true }),
  stream: z.string(),
  consumer: z.string(),
  stream_seq: z.number().int().min(1),
  deliveries: z.number().int(),
});

export interface AdvisoryDeps {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly log: Logger;
  readonly durables: readonly Durable[];
  readonly buried: (consumer: string, reason: 'crashed') => void;
}

const noMessageFound = 10037;

/**
 * Writes the message of an advisory into the DLQ, under the id that its consumer would have used: if that came through
 * after all, the second one is dropped.
 * @throws NatsError when it cannot be read or stored now.
 */
export async function saveAbandoned(deps: AdvisoryDeps, body: Uint8Array): Promise<void> {
  const advisory = readAdvisory(body);
  if (advisory === undefined) {
    deps.log.error('an advisory of JetStream cannot be read');
    return;
  }
  const { stream, consumer: name, stream_seq: streamSeq, deliveries } = advisory;
  const durable = deps.durables.find((one) => one.declared.stream === stream && one.declared.name === name);
  if (durable === undefined || (durable.kind !== 'subject' && durable.kind !== 'replays')) {
    deps.log.warn({ stream, consumer: name, stream_seq: streamSeq }, 'somebody else exhausted a message');
    return;
  }
  const message = await storedMessage(deps.jsm, stream, streamSeq);
  // A stream that was deleted begins at 1 again: what is there now is not what the advisory tells of.
  if (message === undefined || message.time.getTime() > Date.parse(advisory.timestamp)) {
    deps.log.error(
      { stream, consumer: name, stream_seq: streamSeq },
      'an abandoned message is not in its stream any more',
    );
    return;
  }
  const { group, subject } = destination(durable, message.subject);
  const addressee = addresseeOf(group, subject);
  const { consumer } = addressee;
  const { duplicate } = await storeLetter(
    deps.js,
    {
      ...addressee,
      subject,
      stream,
      streamSeq,
      deliveries,
      storedAt: message.time,
      headers: message.header,
      body: message.data,
      reason: 'crashed',
      errorCode: 'crashed',
      detail: 'Its last delivery was never answered.',
    },
    new Date(),
  );
  if (duplicate) return;
  deps.buried(consumer, 'crashed');
  deps.log.error({ consumer, reason: 'crashed' }, 'an event went to the DLQ');
}

function readAdvisory(body: Uint8Array): z.infer<typeof advisorySchema> | undefined {
  try {
    return advisorySchema.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch {
    return undefined;
  }
}

function destination(
  durable: Extract<Durable, { kind: 'subject' | 'replays' }>,
  subject: string,
): { readonly group: string; readonly subject: string } {
  if (durable.kind === 'subject') return { group: durable.subscription.group, subject };
  return { group: durable.group, subject: originalSubject(durable.group, subject) };
}

/** Subject of the channel that a replay is of. */
export const originalSubject = (group: string, replay: string): string =>
  replay.slice(`replay.${group}.`.length);

async function storedMessage(
  jsm: JetStreamManager,
  stream: string,
  seq: number,
): Promise<StoredMsg | undefined> {
  try {
    return await jsm.streams.getMessage(stream, { seq });
  } catch (error) {
    const gone =
      error instanceof NatsError && (error.api_error?.err_code === noMessageFound || error.code === '404');
    if (gone) return undefined;
    throw error;
  }
}
