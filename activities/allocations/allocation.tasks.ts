/** Builds and queues the node tasks of an allocation. */
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import { nodeTaskWait } from '../../contracts/allocations/allocation.waits.ts';
import { nodeTaskParams } from '../../contracts/nodes/node-task.api.ts';
import type {
  NodeTaskKind,
  NodeTaskRequest,
  NodeTaskVerdict,
} from '../../contracts/nodes/node-task.tasks.ts';
import { noteWait } from '../../db/allocations/allocation.store.ts';
import { dispatchFacts, type DispatchFacts } from '../../db/allocations/allocation.views.ts';
import type { Queryable } from '../../db/client.ts';
import { json, statement } from '../../db/statement.ts';
import { activeTraceparent } from '../../db/trace.ts';
import type { AllocationActivityDeps } from './allocation.ports.ts';

interface DispatchAt {
  readonly workflowId: string;
  readonly runId: string;
  readonly activityId: string;
  readonly attempt: number;
  readonly timeoutSeconds: number;
}

/** Where the plane lets a tenant write on a node; these are what a cleanup removes and proves empty. */
const tenantPaths = (username: string, allocationId: string): string[] => [
  `/home/${username}`,
  `/scratch/${allocationId}`,
  `/mnt/gpuaas/${allocationId}`,
];

/** An attempt that was held up for long must not touch what has become of the node since. */
export class OutdatedTaskError extends Error {}
const statesToPrepare: readonly AllocationState[] = ['requested', 'provisioning'];
const statesToClean: readonly AllocationState[] = ['requested', 'provisioning', 'releasing'];
const openStates = (kind: NodeTaskKind): readonly AllocationState[] =>
  kind === 'node.allocation_prepare' ? statesToPrepare : statesToClean;

/** How often a dispatch begins anew because a rival changed the row or the node meanwhile. */
const maxRounds = 10;

export function nodeTaskDispatcher(deps: Pick<AllocationActivityDeps, 'tasks'>) {
  const dispatchStatement = statement(
    'allocation-dispatch',
    `with ${noteWait}, ${deps.tasks.queueing('waiting')} select id from queued`,
  );

  /**
   * Queues the task of this activity, or finds the one that an earlier attempt queued. Reads first and writes in one
   * statement under what was read: the row's state and the node's fence. Nothing is written when one of them has changed,
   * and the next round sees how (D-0011).
   * @returns the verdict when the node has answered already, otherwise null: it will.
   */
  return async function dispatch(
    q: Queryable,
    task: NodeTaskRequest,
    at: DispatchAt,
  ): Promise<NodeTaskVerdict | null> {
    const { timeoutSeconds, attempt, ...address } = at;
    const taskId = deps.tasks.nodeTaskIdOf(address);
    for (let round = 1; round <= maxRounds; round += 1) {
      const facts = await dispatchFacts(q, task.allocationId, taskId);
      if (facts === undefined) throw new Error(`allocation ${task.allocationId} has no row`);
      if (facts.taskState !== null) {
        // Fenced off by a rival that came late: nobody will answer it. The run goes on anew from its row.
        if (facts.taskState === 'superseded' && facts.verdict === null)
          throw new OutdatedTaskError(`${task.kind} was superseded`);
        if (facts.attempt !== attempt) await deps.tasks.noteAttempt(q, taskId, attempt);
        return facts.verdict;
      }
      const states = openStates(task.kind);
      if (!states.includes(facts.state))
        throw new OutdatedTaskError(`${task.kind} comes too late: ${task.allocationId} is ${facts.state}`);
      const queued = await dispatchStatement(q, {
        allocation_id: task.allocationId,
        states,
        waiting_on: nodeTaskWait(task.kind),
        timeout_seconds: timeoutSeconds,
        node_id: task.nodeId,
        fence: facts.fence,
        task_id: taskId,
        kind: task.kind,
        params: json(paramsOf(task, facts)),
        workflow_id: address.workflowId,
        run_id: address.runId,
        activity_id: address.activityId,
        attempt,
        correlation_id: task.correlationId,
        traceparent: activeTraceparent(),
      });
      if (queued.length > 0) return null;
    }
    throw new Error(`${task.kind} found no quiet moment of its node`);
  };
}

function paramsOf(task: NodeTaskRequest, facts: DispatchFacts): Record<string, unknown> {
  const { username } = facts;
  if (username === null) throw new Error(`user ${facts.userId} has no POSIX identity`);
  const paths = tenantPaths(username, task.allocationId);
  const base = { allocation_id: task.allocationId, reason: task.reason };
  const byKind: Record<NodeTaskKind, () => Record<string, unknown>> = {
    'node.allocation_prepare': () => ({
      ...base,
      user_id: facts.userId,
      username,
      uid: facts.uid,
      gid: facts.gid,
      authorized_keys: facts.authorizedKeys,
      gpu_slots: facts.slots,
    }),
    'node.allocation_cleanup': () => ({ ...base, username, uid: facts.uid }),
    'node.gpu_scrub': () => ({ ...base, mode: 'reset', container_runtime: 'none' }),
    'node.storage_cleanup': () => ({ ...base, paths, delete_empty_dirs: true }),
    'node.validate_clean': () => ({
      ...base,
      checks: ['gpu_processes', 'runtime_containers', 'mounts', 'paths'],
      paths,
    }),
  };
  // Parsed before it is stored: an agent would refuse the whole task, again and again.
  return { ...nodeTaskParams[task.kind].parse(byKind[task.kind]()) };
}
