import type { MetricMeter } from '@temporalio/common';
import type { Database } from '../../db/client.ts';
import { operationalFigures } from '../../db/ops/figures.views.ts';

/** What the reconcilers tell the worker's Prometheus endpoint. */
export interface Figures {
  /** Notes what a sweep had to repair. */
  repaired(reconciler: string, count: number): void;
  /** Notes whether a server answered the last probe. */
  dependencyUp(dependency: string, isUp: boolean): void;
  /** Reads what the tables say, and shows it until the next time. */
  read(db: Database): Promise<void>;
}

/** @param meter of the engine's runtime, whose endpoint a worker serves. */
export function createFigures(meter: MetricMeter): Figures {
  const repairs = meter.createCounter(
    'gpuaas_reconciler_repairs',
    '',
    'What the normal path lost, by who found it.',
  );
  const allocations = meter.createGauge(
    'gpuaas_allocations',
    'int',
    '',
    'Allocations that are not at their end.',
  );
  const letters = meter.createGauge('gpuaas_dead_letters_open', 'int', '', 'Dead letters to be dealt with.');
  const dependencies = meter.createGauge(
    'gpuaas_dependency_up',
    'int',
    '',
    'Whether a server that this process needs answered the last probe.',
  );
  return {
    dependencyUp: (dependency, isUp) => dependencies.set(isUp ? 1 : 0, { dependency }),
    repaired: (reconciler, count) => repairs.add(count, { reconciler }),
    read: async (db) => {
      const figures = await operationalFigures(db.q);
      for (const { state, count } of figures.allocations) allocations.set(count, { state });
      letters.set(figures.openDeadLetters);
    },
  };
}
