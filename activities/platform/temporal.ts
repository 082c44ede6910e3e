import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { clientInterceptors } from './tracing-temporal.ts';

/** Where Temporal is. */
export interface TemporalAddress {
  readonly address: string;
  readonly namespace: string;
  readonly tls?: boolean;
}

/** Longest pause between two attempts of a call; also the longest that `close` waits. */
const maxRetryDelayMs = 1000;

/**
 * A client whose connection is made by its first call and made again when it breaks: a process starts while Temporal is
 * away, and finds it later. Never call `ensureConnected` on it: that remembers a first failure. Installs no Runtime.
 * Its `close` lets pending retries run out first: on a closed channel they throw where nobody can catch.
 */
export function openTemporal(options: TemporalAddress): Client {
  const retries = new Retries();
  const connection = Connection.lazy({
    address: options.address,
    tls: options.tls ?? false,
    connectTimeout: '2s',
    interceptors: [makeGrpcRetryInterceptor(retries.options)],
    // A server that comes back is found within a second instead of gRPC's two minutes.
    channelArgs: {
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
    },
  });
  const close = connection.close.bind(connection);
  connection.close = async () => {
    await retries.settle();
    await close();
  };
  return new Client({
    connection,
    namespace: options.namespace,
    interceptors: { workflow: clientInterceptors() },
  });
}

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The SDK's rules of retrying, with an end. */
class Retries {
  readonly #defaults = defaultGrpcRetryOptions();
  #closing = false;
  /** When no retry is due any more, as `monotonicMs` tells. */
  #quietAt = 0;

  readonly options: Parameters<typeof makeGrpcRetryInterceptor>[0] = {
    retryableDecider: (attempt, status) => !this.#closing && this.#defaults.retryableDecider(attempt, status),
    delayFunction: (attempt, status) => {
      const delayMs = Math.min(maxRetryDelayMs, this.#defaults.delayFunction(attempt, status));
      this.#quietAt = Math.max(this.#quietAt, monotonicMs() + delayMs);
      return delayMs;
    },
  };

  /** Resolves when no retry is scheduled any more; none is scheduled from now on. */
  async settle(): Promise<void> {
    this.#closing = true;
    // By the clock and not by one timer: a timer counts from when the loop last looked, which may be long ago, and so
    // would be due before the retry's own.
    for (let leftMs; (leftMs = this.#quietAt - monotonicMs()) > 0;) await delay(Math.ceil(leftMs));
    // All timers that are due have run when an immediate has followed a turn of the loop.
    await turn();
    await turn();
  }
}
