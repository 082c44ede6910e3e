import { Client, Connection } from '@temporalio/client';

/** Where Temporal is. */
export interface TemporalAddress {
  readonly address: string;
  readonly namespace: string;
  readonly tls?: boolean;
}

/**
 * A client whose connection is made by its first call and made again when it breaks: a process starts while Temporal is
 * away, and finds it later. Never call `ensureConnected` on it: that remembers a first failure. Installs no Runtime.
 */
export function openTemporal(options: TemporalAddress): Client {
  const connection = Connection.lazy({
    address: options.address,
    tls: options.tls ?? false,
    connectTimeout: '2s',
    // A server that comes back is found within a second instead of gRPC's two minutes.
    channelArgs: {
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
    },
  });
  return new Client({ connection, namespace: options.namespace });
}
