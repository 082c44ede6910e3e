import { createServer, type Server } from 'node:http';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { deadLetterReasons, strangersGroup, type DeadLetterReason } from '../../contracts/ops/dead-letter.ts';
import type { Outcome } from './delivery.ts';

/** Figures of one process of consumers. */
export class ConsumerMetrics {
  readonly registry = new Registry();
  private readonly deliveries = new Counter({
    name: 'gpuaas_consumer_deliveries_total',
    help: 'Deliveries by how they ended.',
    labelNames: ['consumer', 'outcome'],
    registers: [this.registry],
  });
  private readonly redeliveries = new Counter({
    name: 'gpuaas_consumer_redeliveries_total',
    help: 'Deliveries of a message that was delivered before.',
    labelNames: ['consumer'],
    registers: [this.registry],
  });
  private readonly durations = new Histogram({
    name: 'gpuaas_consumer_delivery_duration_seconds',
    help: 'From a delivery to its acknowledgement.',
    labelNames: ['consumer'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [this.registry],
  });
  private readonly dead = new Counter({
    name: 'gpuaas_consumer_dead_letters_total',
    help: 'Messages that went to the DLQ.',
    labelNames: ['consumer', 'reason'],
    registers: [this.registry],
  });
  private readonly recreated = new Counter({
    name: 'gpuaas_consumer_recreations_total',
    help: 'Streams and durables that were found missing and made again.',
    registers: [this.registry],
  });
  private readonly republished = new Counter({
    name: 'gpuaas_consumer_republished_total',
    help: 'Outbox rows put back because a stream was lost.',
    registers: [this.registry],
  });
  private readonly waiting = new Gauge({
    name: 'gpuaas_consumer_waiting_messages',
    help: 'Messages that a durable has not delivered yet.',
    labelNames: ['consumer'],
    registers: [this.registry],
  });
  private readonly unacknowledged = new Gauge({
    name: 'gpuaas_consumer_unacknowledged_messages',
    help: 'Messages that were delivered and not acknowledged.',
    labelNames: ['consumer'],
    registers: [this.registry],
  });
  private readonly connected = new Gauge({
    name: 'gpuaas_consumer_connected',
    help: '1 while what is named is there.',
    labelNames: ['system'],
    registers: [this.registry],
  });

  /**
   * Has the counters of these durables begin at zero: what is born with its first event is no increase to Prometheus.
   * @param consumers names as dead letters have them.
   */
  expect(consumers: Iterable<string>): void {
    for (const consumer of [...consumers, strangersGroup]) {
      this.redeliveries.inc({ consumer }, 0);
      for (const reason of deadLetterReasons) this.dead.inc({ consumer, reason }, 0);
    }
  }

  delivered(consumer: string, outcome: Outcome, delivery: number, durationMs: number): void {
    this.deliveries.inc({ consumer, outcome });
    if (delivery > 1) this.redeliveries.inc({ consumer });
    this.durations.observe({ consumer }, durationMs / 1000);
  }

  buried(consumer: string, reason: DeadLetterReason): void {
    this.dead.inc({ consumer, reason });
  }

  madeAgain(count: number): void {
    this.recreated.inc(count);
  }

  putBack(count: number): void {
    this.republished.inc(count);
  }

  lag(consumer: string, waiting: number, unacknowledged: number): void {
    this.waiting.set({ consumer }, waiting);
    this.unacknowledged.set({ consumer }, unacknowledged);
  }

  reachable(system: string, isThere: boolean): void {
    this.connected.set({ system }, isThere ? 1 : 0);
  }
}

/**
 * Serves `/metrics` and `/readyz` on 127.0.0.1.
 * @param port 0 for any free one.
 * @param isReady false answers `/readyz` with 503.
 */
export function serveMetrics(
  metrics: ConsumerMetrics,
  isReady: () => boolean,
  port: number,
): Promise<Server> {
  const { registry } = metrics;
  const server = createServer((request, response) => {
    if (request.url === '/readyz') {
      response.writeHead(isReady() ? 200 : 503).end(isReady() ? 'ready\n' : 'not ready\n');
      return;
    }
    if (request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      () => response.writeHead(503).end(),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
