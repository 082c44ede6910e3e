/** Builds and queues the node tasks of an allocation. */
import type { TransitionOrder } from '../../contracts/allocations/allocation.activities.ts';
import type { AllocationState } from '../../contracts/allocations/allocation.lifecycle.ts';
import { nodeTaskWait } from '../../contracts/allocations/allocation.waits.ts';
import { nodeTaskParams } from '../../contracts/nodes/node-task.api.ts';
import type {
  NodeTaskKind,
  NodeTaskRequest,
  NodeTaskVerdict,
} from '../../contracts/nodes/node-task.tasks.ts';
import { noteWait, startParameters, starting } from '../../db/allocations/allocation.store.ts';
import { dispatchFacts, type DispatchFacts } from '../../db/allocations/allocation.views.ts';
import { violatedConstraint, type Queryable } from '../../db/client.ts';
import { json, statement, type Parameters } from '../../db/statement.ts';
import { activeTraceparent } from '../../db/trace.ts';
import { RecentMap } from '../../contracts/recent-map.ts';
import type { AllocationActivityDeps, NodeTaskPort } from './allocation.ports.ts';

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

/** The tenant of an allocation, who never changes, and the last fence of its node that this process knows of. */
interface KnownTenant extends Pick<DispatchFacts, 'userId' | 'username' | 'uid' | 'fence'> {
  readonly nodeId: string;
}

/** Allocations whose tenant a process remembers; that of another one is looked up. */
const maxKnown = 10_000;

/** The transition that nearly always travels with the first task: its row stands as the admission left it. */
const isPlainStart = (order: TransitionOrder): boolean =>
  order.event === 'provisioning_started' && order.command === null;

/** Queues node tasks. */
export interface NodeTaskDispatcher {
  /**
   * The usual case in as few statements as there can be, under the guards of `dispatch`: a first attempt, by what this
   * process knows already, or with the transition that travels with the first task.
   * @returns false when no task was queued: `dispatch` has to look. The transition may have happened even so, when the
   * node's fence moved meanwhile; ordered once more, it is found written.
   */
  quickly(q: Queryable, task: NodeTaskRequest, at: DispatchAt, order?: TransitionOrder): Promise<boolean>;
  /**
   * Queues the task of this activity, or finds the one that an earlier attempt queued. Reads first and writes in one
   * statement under what was read: the row's state and the node's fence. No task is queued when one of them has changed,
   * and the next round sees how (D-0011).
   * @returns the verdict when the node has answered already, otherwise null: it will.
   */
  dispatch(q: Queryable, task: NodeTaskRequest, at: DispatchAt): Promise<NodeTaskVerdict | null>;
}

export function nodeTaskDispatcher({ tasks }: Pick<AllocationActivityDeps, 'tasks'>): NodeTaskDispatcher {
  const known = new RecentMap<KnownTenant>({ size: maxKnown });
  const write = taskWriter(tasks);

  /** @returns false when the row or the node is not any more what the facts say. */
  const queue = async (q: Queryable, queueing: Queueing): Promise<boolean> => {
    const fence = await write(q, queueing);
    if (fence === undefined) return false;
    const { task, tenant } = queueing;
    const { userId, username, uid } = tenant;
    known.set(task.allocationId, { userId, username, uid, nodeId: task.nodeId, fence });
    return true;
  };

  const quickly: NodeTaskDispatcher['quickly'] = async (q, task, at, order) => {
    if (at.attempt > 1) return false;
    try {
      if (order === undefined) {
        const tenant = known.get(task.allocationId);
        if (tenant?.nodeId !== task.nodeId || task.kind === 'node.allocation_prepare') return false;
        return await queue(q, { task, at, tenant, params: cleanupParamsOf(task.kind, task, tenant) });
      }
      if (!isPlainStart(order) || task.kind !== 'node.allocation_prepare') return false;
      const facts = await dispatchFacts(q, task.allocationId, tasks.nodeTaskIdOf(at));
      if (facts === undefined || facts.taskState !== null) return false;
      return await queue(q, { task, at, tenant: facts, params: paramsOf(task, facts), order });
    } catch (error) {
      // Another attempt has queued this very task, and nothing was written.
      if (violatedConstraint(error) !== undefined) return false;
      throw error;
    }
  };

  const dispatch: NodeTaskDispatcher['dispatch'] = async (q, task, at) => {
    const taskId = tasks.nodeTaskIdOf(at);
    for (let round = 1; round <= maxRounds; round += 1) {
      const facts = await dispatchFacts(q, task.allocationId, taskId);
      if (facts === undefined) throw new Error(`allocation ${task.allocationId} has no row`);
      if (facts.taskState !== null) {
        // Fenced off by a rival that came late: nobody will answer it. The run goes on anew from its row.
        if (facts.taskState === 'superseded' && facts.verdict === null)
          throw new OutdatedTaskError(`${task.kind} was superseded`);
        if (facts.attempt !== at.attempt) await tasks.noteAttempt(q, taskId, at.attempt);
        return facts.verdict;
      }
      if (!openStates(task.kind).includes(facts.state))
        throw new OutdatedTaskError(`${task.kind} comes too late: ${task.allocationId} is ${facts.state}`);
      if (await queue(q, { task, at, tenant: facts, params: paramsOf(task, facts) })) return null;
    }
    throw new Error(`${task.kind} found no quiet moment of its node`);
  };
  return { quickly, dispatch };
}

interface Queueing {
  readonly task: NodeTaskRequest;
  readonly at: DispatchAt;
  readonly params: Record<string, unknown>;
  readonly tenant: Omit<KnownTenant, 'nodeId'>;
  /** What moves the row with it. */
  readonly order?: TransitionOrder;
}

/** Writes a task, with its transition if it has one; gives its fence, undefined when it was not queued. */
function taskWriter(tasks: NodeTaskPort): (q: Queryable, queueing: Queueing) => Promise<number | undefined> {
  const statementOf = (name: string, change: string, part: string) =>
    statement<Parameters, { fence: number }>(
      name,
      `with ${change}, ${tasks.queueing(part)} select fence from queued`,
    );
  const dispatchStatement = statementOf('allocation-dispatch', noteWait, 'waiting');
  const startStatement = statementOf('allocation-start-dispatch', starting, 'moved');
  return async (q, { task, at, params, tenant, order }) => {
    const write = order === undefined ? dispatchStatement : startStatement;
    const [queued] = await write(q, {
      ...(order === undefined ? { states: openStates(task.kind) } : startParameters(order)),
      allocation_id: task.allocationId,
      waiting_on: nodeTaskWait(task.kind),
      timeout_seconds: at.timeoutSeconds,
      node_id: task.nodeId,
      fence: tenant.fence,
      task_id: tasks.nodeTaskIdOf(at),
      kind: task.kind,
      params: json(params),
      workflow_id: at.workflowId,
      run_id: at.runId,
      activity_id: at.activityId,
      attempt: at.attempt,
      correlation_id: task.correlationId,
      traceparent: activeTraceparent(),
    });
    return queued?.fence;
  };
}

const posixName = ({ userId, username }: Pick<DispatchFacts, 'userId' | 'username'>): string => {
  if (username === null) throw new Error(`user ${userId} has no POSIX identity`);
  return username;
};

function paramsOf(task: NodeTaskRequest, facts: DispatchFacts): Record<string, unknown> {
  const { kind } = task;
  if (kind !== 'node.allocation_prepare') return cleanupParamsOf(kind, task, facts);
  return parsedParams(kind, {
    allocation_id: task.allocationId,
    reason: task.reason,
    user_id: facts.userId,
    username: posixName(facts),
    uid: facts.uid,
    gid: facts.gid,
    authorized_keys: facts.authorizedKeys,
    gpu_slots: facts.slots,
  });
}

function cleanupParamsOf(
  kind: Exclude<NodeTaskKind, 'node.allocation_prepare'>,
  { allocationId, reason }: NodeTaskRequest,
  tenant: Pick<DispatchFacts, 'userId' | 'username' | 'uid'>,
): Record<string, unknown> {
  const username = posixName(tenant);
  const paths = tenantPaths(username, allocationId);
  const byKind: Record<typeof kind, Record<string, unknown>> = {
    'node.allocation_cleanup': { username, uid: tenant.uid },
    'node.gpu_scrub': { mode: 'reset', container_runtime: 'none' },
    'node.storage_cleanup': { paths, delete_empty_dirs: true },
    'node.validate_clean': { checks: ['gpu_processes', 'runtime_containers', 'mounts', 'paths'], paths },
  };
  return parsedParams(kind, { allocation_id: allocationId, reason, ...byKind[kind] });
}

/** Parsed before it is stored: an agent would refuse the whole task, again and again. */
const parsedParams = (kind: NodeTaskKind, params: Record<string, unknown>): Record<string, unknown> => ({
  ...nodeTaskParams[kind].parse(params),
});
