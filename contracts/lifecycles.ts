import { allocationTransitions } from './allocations/allocation.lifecycle.ts';
import { allocationWorkflowType } from './allocations/allocation.messages.ts';
import { dlqReplayTransitions } from './ops/dlq-replay.lifecycle.ts';
import { dlqReplayWorkflowType } from './ops/dlq-replay.messages.ts';
import { taskQueues, type TaskQueue } from './queues.ts';

/** One row per lifecycle; a test proves that its files, workflow, table and subjects exist, and no others do. */
export interface Lifecycle {
  readonly stem: string;
  readonly domain: string;
  readonly workflowType: string;
  readonly taskQueue: TaskQueue;
  readonly workflowIdPrefix: string;
  readonly table: string;
  readonly subjects: readonly string[];
  readonly transitions: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Activity names, as the fault matrix enumerates them. */
  readonly activities: readonly string[];
  readonly files: readonly string[];
}

export const lifecycles: readonly Lifecycle[] = [
  {
    stem: 'allocation',
    domain: 'allocations',
    workflowType: allocationWorkflowType,
    taskQueue: taskQueues.provisioning,
    workflowIdPrefix: 'allocation-',
    table: 'allocations',
    subjects: [
      'gpuaas.provisioning.requested',
      'gpuaas.provisioning.active',
      'gpuaas.provisioning.failed',
      'gpuaas.provisioning.releasing.requested',
      'gpuaas.provisioning.releasing.completed',
      'gpuaas.provisioning.force_release_requested',
      'gpuaas.provisioning.release_failed',
    ],
    transitions: allocationTransitions,
    activities: [
      'admitAllocation',
      'resumeAllocation',
      'transitionAllocation',
      'refuseCommand',
      'runNodeTask',
    ],
    files: [
      'contracts/allocations/allocation.lifecycle.ts',
      'contracts/allocations/allocation.messages.ts',
      'contracts/allocations/allocation.guards.ts',
      'contracts/allocations/allocation.activities.ts',
      'contracts/allocations/allocation.events.ts',
      'contracts/allocations/allocation.api.ts',
      'workflows/allocations/allocation.workflow.ts',
      'activities/allocations/allocation.activities.ts',
      'db/allocations/allocation.schema.ts',
      'db/allocations/allocation.store.ts',
      'db/allocations/allocation.views.ts',
      'api/allocations/allocation.routes.ts',
    ],
  },
  {
    stem: 'dlq-replay',
    domain: 'ops',
    workflowType: dlqReplayWorkflowType,
    taskQueue: taskQueues.ops,
    workflowIdPrefix: 'dlq-replay-',
    table: 'dlq_replays',
    subjects: [],
    transitions: dlqReplayTransitions,
    activities: [
      'openDlqReplay',
      'resumeDlqReplay',
      'selectDlqPage',
      'transitionDlqReplay',
      'refuseDlqCancel',
      'publishDlqPage',
    ],
    files: [
      'contracts/ops/dlq-replay.lifecycle.ts',
      'contracts/ops/dlq-replay.messages.ts',
      'contracts/ops/dlq-replay.guards.ts',
      'contracts/ops/dlq-replay.activities.ts',
      'contracts/ops/dlq-replay.api.ts',
      'workflows/ops/dlq-replay.workflow.ts',
      'activities/ops/dlq-replay.activities.ts',
      'db/ops/dlq-replay.store.ts',
      'db/ops/dlq-replay.views.ts',
      'api/ops/dlq-replay.routes.ts',
    ],
  },
];
