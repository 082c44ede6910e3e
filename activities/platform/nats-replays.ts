import { ErrorCode, headers as natsHeaders, NatsError, type MsgHdrs, type NatsConnection } from 'nats';
import { deadLetterHeaders, replayHeader, type ReplayedLetter } from '../../contracts/ops/dead-letter.ts';
import { connectNats } from './nats.ts';

export interface ReplaySink {
  publish(letter: ReplayedLetter): Promise<void>;
  newestOn(subject: string): Promise<string | undefined>;
  /** Rejects while NATS is away. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

const timeoutMs = 2000;
const messageIdHeader = 'Nats-Msg-Id';
const notFound = '404';

/**
 * JetStream as the replay of dead letters sees it. Connects in the background: a process starts while NATS is away, and
 * every call fails until it is there. Nothing waits in the client's buffer to be sent later.
 */
export function openReplaySink(url: string, credsFile?: string): ReplaySink {
  let connection: NatsConnection | undefined;
  let closed = false;
  const connecting = connectNats({ url, credsFile, name: 'gpuaas-replays', retry: 'all' }).then(
    async (nc) => {
      if (closed) await nc.close();
      else connection = nc;
    },
  );
  // Without a connection every call says so.
  connecting.catch(() => undefined);
  const reached = async (): Promise<NatsConnection> => {
    if (connection === undefined) throw new Error('nats is not connected yet');
    // A ping that is answered: what is published now does not wait for a reconnection.
    await within(connection.flush());
    return connection;
  };
  return {
    async publish(letter) {
      const nc = await reached();
      const extra = natsHeaders();
      extra.set(replayHeader, String(letter.attempt));
      if (letter.correlationId !== null) extra.set('Correlation-Id', letter.correlationId);
      const traceparent = await traceOf(nc, letter);
      if (traceparent !== undefined) extra.set('traceparent', traceparent);
      const js = nc.jetstream({ timeout: timeoutMs });
      await js.publish(letter.subject, letter.body, { msgID: letter.messageId, headers: extra });
    },
    async newestOn(subject) {
      const message = await stored(await reached(), 'REPLAYS', { last_by_subj: subject });
      return message?.get(messageIdHeader) || undefined;
    },
    async ping() {
      await reached();
    },
    async close() {
      closed = true;
      await connection?.close();
    },
  };
}

/** The trace that the letter came with; none when the DLQ does not hold it any more, or holds another one there. */
async function traceOf(nc: NatsConnection, letter: ReplayedLetter): Promise<string | undefined> {
  const found = await stored(nc, 'DLQ', { seq: letter.dlqSeq });
  if (found?.get(deadLetterHeaders.consumer) !== letter.consumer) return undefined;
  return found.get('traceparent') || undefined;
}

async function stored(
  nc: NatsConnection,
  stream: string,
  query: { readonly seq: number } | { readonly last_by_subj: string },
): Promise<MsgHdrs | undefined> {
  const jsm = await nc.jetstreamManager({ timeout: timeoutMs });
  try {
    return (await jsm.streams.getMessage(stream, query)).header;
  } catch (error) {
    if (error instanceof NatsError && (error.code === notFound || error.api_error?.code === 404))
      return undefined;
    throw error;
  }
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NatsError('nats does not answer', ErrorCode.Timeout)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
