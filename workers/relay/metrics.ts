import { createServer, type Server } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import type { Database } from '../../db/client.ts';
import { outboxLag } from '../../db/ops/outbox.store.ts';
import type { Relay } from './relay.ts';

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
}

function addCounters(registry: Registry, metrics: readonly Metric[]): void {
  for (const { name, help, read } of metrics) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}

function addGauges(registry: Registry, metrics: readonly Metric[]): void {
  for (const { name, help, read } of metrics) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  }
}

/** The relay's figures; `lag` is read anew for every answer. */
export function relayRegistry(relay: Relay, lag: () => Awaited<ReturnType<typeof outboxLag>>): Registry {
  const registry = new Registry();
  const { counters } = relay;
  addCounters(registry, [
    { name: 'gpuaas_outbox_published_total', help: 'Events stored.', read: () => counters.stored },
    {
      name: 'gpuaas_outbox_duplicates_total',
      help: 'Repeats that were dropped.',
      read: () => counters.duplicates,
    },
    {
      name: 'gpuaas_outbox_publish_failures_total',
      help: 'Failed publishes.',
      read: () => counters.failures,
    },
    {
      name: 'gpuaas_outbox_recovered_total',
      help: 'Rows found stored by comparison.',
      read: () => counters.recovered,
    },
    {
      name: 'gpuaas_outbox_leases_lost_total',
      help: 'Leases that ran out.',
      read: () => counters.leasesLost,
    },
    {
      name: 'gpuaas_outbox_deleted_total',
      help: 'Old published rows deleted.',
      read: () => counters.deleted,
    },
  ]);
  addGauges(registry, [
    {
      name: 'gpuaas_outbox_partitions_held',
      help: 'Partitions of this relay.',
      read: () => relay.partitions().length,
    },
    {
      name: 'gpuaas_outbox_held_aggregates',
      help: 'Aggregates behind a failed publish.',
      read: () => relay.heldAggregates(),
    },
    { name: 'gpuaas_outbox_lag_rows', help: 'Unpublished rows, all partitions.', read: () => lag().count },
    {
      name: 'gpuaas_outbox_lag_seconds',
      help: 'Age of the oldest unpublished row.',
      read: () => lag().oldestAgeMs / 1000,
    },
    {
      name: 'gpuaas_outbox_stuck_rows',
      help: 'Rows unpublished for over a minute.',
      read: () => lag().stuckRows,
    },
  ]);
  return registry;
}

/**
 * Serves `/metrics` on 127.0.0.1. 503 while the database does not answer.
 * @param port 0 for any free one.
 */
export function serveMetrics(relay: Relay, db: Database, port: number): Promise<Server> {
  let lag = { count: 0, oldestAgeMs: 0, stuckRows: 0 };
  const registry = relayRegistry(relay, () => lag);
  const server = createServer((request, response) => {
    void (async () => {
      if (request.url !== '/metrics') {
        response.writeHead(404).end();
        return;
      }
      try {
        lag = await outboxLag(db.q);
        response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
      } catch {
        response.writeHead(503).end();
      }
    })();
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
