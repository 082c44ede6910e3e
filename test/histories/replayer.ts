/** Replays histories with a bundle of workflows. */
import { DefaultLogger, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';

/** Once in a process: a replay that fails is a test's result and nobody's warning. */
export function quietRuntime(): void {
  const logging = { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } as const;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging },
  });
}

/** @throws DeterminismViolationError when the workflows would not have made this history. */
export const replay = (workflowBundle: WorkflowBundle, history: unknown): Promise<void> =>
  Worker.runReplayHistory({ workflowBundle }, history, 'allocation-replayed');
