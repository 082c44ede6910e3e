import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Counts of a connection pool. */
export interface PoolCounts {
  readonly total: number;
  readonly idle: number;
  readonly waiting: number;
}

const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];
const buckets = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/**
 * The metrics of an API process, in a registry of its own.
 * @param pool read at every scrape.
 */
export function createApiMetrics(pool: () => PoolCounts) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // Gauges that call themselves totals.
  for (const name of misnamed) registry.removeSingleMetric(name);
  const requests = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the request line to the end of the answer, by operation and status.',
    labelNames: ['operation', 'status'],
    buckets,
    registers: [registry],
  });
  const limiterFallbacks = new Counter({
    name: 'gpuaas_rate_limiter_fallbacks_total',
    help: 'Requests that were limited by this process alone because Redis was away.',
    registers: [registry],
  });
  const limited = new Counter({
    name: 'gpuaas_rate_limited_total',
    help: 'Requests refused with rate_limit_exceeded, by class.',
    labelNames: ['class'],
    registers: [registry],
  });
  const dependencies = new Gauge({
    name: 'gpuaas_dependency_up',
    help: 'Whether a server that this process needs answered the last probe.',
    labelNames: ['dependency'],
    registers: [registry],
  });
  poolGauge(registry, pool);
  return {
    ...notificationMetrics(registry),
    /** @param seconds of the whole request. */
    observeRequest: (operation: string, status: number, seconds: number): void =>
      requests.observe({ operation, status: String(status) }, seconds),
    dependencyUp: (dependency: string, isUp: boolean): void => dependencies.set({ dependency }, isUp ? 1 : 0),
    limiterFellBack: (): void => limiterFallbacks.inc(),
    requestLimited: (rateClass: string): void => limited.inc({ class: rateClass }),
    /** The text exposition and its content type. */
    render: async (): Promise<{ contentType: string; text: string }> => ({
      contentType: registry.contentType,
      text: await registry.metrics(),
    }),
  };
}

function notificationMetrics(registry: Registry) {
  const registers = [registry];
  const sockets = new Gauge({
    name: 'gpuaas_notification_sockets',
    help: 'Open notification sockets of this process.',
    registers,
  });
  const closes = new Counter({
    name: 'gpuaas_notification_socket_closes_total',
    help: 'Notification sockets that ended, by close code.',
    labelNames: ['code'],
    registers,
  });
  const deliveries = new Counter({
    name: 'gpuaas_notification_deliveries_total',
    help: 'Notifications sent to sockets.',
    registers,
  });
  const gaps = new Counter({
    name: 'gpuaas_notification_gap_reads_total',
    help: 'Looks into the table because a live message was not the next one.',
    registers,
  });
  const slow = new Counter({
    name: 'gpuaas_notification_slow_consumer_closes_total',
    help: 'Notification sockets closed because their client read too slowly.',
    registers,
  });
  return {
    notificationSocketOpened: (): void => sockets.inc(),
    notificationSocketClosed: (code: number): void => {
      sockets.dec();
      closes.inc({ code: String(code) });
    },
    notificationsDelivered: (count: number): void => deliveries.inc(count),
    notificationGapRead: (): void => gaps.inc(),
    slowNotificationSocket: (): void => slow.inc(),
  };
}

function poolGauge(registry: Registry, pool: () => PoolCounts): void {
  new Gauge({
    name: 'gpuaas_database_pool_connections',
    help: 'Connections of the database pool and callers that wait for one.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const counts = pool();
      this.set({ state: 'total' }, counts.total);
      this.set({ state: 'idle' }, counts.idle);
      this.set({ state: 'waiting' }, counts.waiting);
    },
  });
}
