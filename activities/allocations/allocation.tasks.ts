/** Builds and queues the node tasks of an allocation. */
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import { nodeTaskWait } from '../../contracts/allocations/allocation.waits.ts';
import { nodeTaskParams } from '../../contracts/nodes/node-task.api.ts';
import type {
  NodeTaskKind,
  NodeTaskRequest,
  NodeTaskVerdict,
} from '../../contracts/nodes/node-task.tasks.ts';
import { findAllocation, noteWait } from '../../db/allocations/allocation.store.ts';
import type { Tx } from '../../db/client.ts';
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

export function nodeTaskDispatcher(deps: Pick<AllocationActivityDeps, 'identity' | 'placements' | 'tasks'>) {
  /**
   * Queues the task of this activity, or finds the one that an earlier attempt queued.
   * @returns the verdict when the node has answered already, otherwise null: it will.
   */
  return async function dispatch(
    tx: Tx,
    task: NodeTaskRequest,
    at: DispatchAt,
  ): Promise<NodeTaskVerdict | null> {
    const { timeoutSeconds, attempt, ...address } = at;
    const existing = await deps.tasks.findTaskOfActivity(tx, address, attempt);
    if (existing !== undefined) {
      // Fenced off by a rival that came late: nobody will answer it. The run goes on anew from its row.
      if (existing.state === 'superseded' && existing.verdict === null)
        throw new OutdatedTaskError(`${task.kind} was superseded`);
      return existing.verdict;
    }
    // Locks the row: from here on its state stands.
    await noteWait(tx, task.allocationId, { waitingOn: nodeTaskWait(task.kind), timeoutSeconds });
    const params = await buildParams(deps, tx, task);
    await deps.tasks.insertTask(
      tx,
      {
        ...address,
        attempt,
        timeoutSeconds,
        nodeId: task.nodeId,
        allocationId: task.allocationId,
        kind: task.kind,
        correlationId: task.correlationId,
        traceparent: null,
      },
      params,
    );
    return null;
  };
}

async function buildParams(
  deps: Pick<AllocationActivityDeps, 'identity' | 'placements'>,
  tx: Tx,
  task: NodeTaskRequest,
): Promise<Record<string, unknown>> {
  const row = await findAllocation(tx, task.allocationId);
  if (row === undefined) throw new Error(`allocation ${task.allocationId} has no row`);
  const open = task.kind === 'node.allocation_prepare' ? statesToPrepare : statesToClean;
  if (!open.includes(row.state))
    throw new OutdatedTaskError(`${task.kind} comes too late: ${row.id} is ${row.state}`);
  const access = await deps.identity.accessOf(tx, row.userId);
  const paths = tenantPaths(access.username, row.id);
  const base = { allocation_id: row.id, reason: task.reason };
  const byKind: Record<NodeTaskKind, () => Promise<Record<string, unknown>>> = {
    'node.allocation_prepare': async () => ({
      ...base,
      user_id: row.userId,
      username: access.username,
      uid: access.uid,
      gid: access.gid,
      authorized_keys: access.authorizedKeys,
      gpu_slots: await deps.placements.slotsOf(tx, row.id),
    }),
    'node.allocation_cleanup': async () => ({ ...base, username: access.username, uid: access.uid }),
    'node.gpu_scrub': async () => ({ ...base, mode: 'reset', container_runtime: 'none' }),
    'node.storage_cleanup': async () => ({ ...base, paths, delete_empty_dirs: true }),
    'node.validate_clean': async () => ({
      ...base,
      checks: ['gpu_processes', 'runtime_containers', 'mounts', 'paths'],
      paths,
    }),
  };
  // Parsed before it is stored: an agent would refuse the whole task, again and again.
  return { ...nodeTaskParams[task.kind].parse(await byKind[task.kind]()) };
}
