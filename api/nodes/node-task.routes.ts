import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { nodeTaskResults, postTaskResult, waitForTasks } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind, NodeTaskVerdict } from '../../contracts/nodes/node-task.tasks.ts';
import { CodedError } from '../../contracts/errors.ts';
import type { NodeId } from '../../contracts/ids.ts';
import { assertNoConnectionHeld, type Queryable } from '../../db/client.ts';
import { readNow } from '../../db/clock.ts';
import { recordContact } from '../../db/nodes/node-contact.store.ts';
import { findTask, offerTasks, runningTasks, storeVerdict } from '../../db/nodes/node-task.store.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';
import type { ApiDeps } from '../deps.ts';
import { RecentMap } from '../../contracts/recent-map.ts';
import { route, type Route } from '../route.ts';
import { createCompletions, createHeartbeats } from './node-task.commands.ts';
import { signTask } from './node-task.signing.ts';
import { createTaskWaiters, type TaskWaiters } from './node-task.waiters.ts';

/** Most tasks of one answer. */
const batchSize = 16;
/** `last_contact_at` is written at most this often per node and process. */
const contactEveryMs = 5000;
/** A poll that names running tasks is their heartbeat, so it is not held longer. */
const busyHoldMs = 2000;

/** Tasks that a process remembers to have offered; a report of another one is looked up. */
const maxRemembered = 10_000;

/** How long a poll waits for a wake before it looks, when nothing can have come without one. */
const quietMs = 1000;

type Report = z.output<(typeof postTaskResult)['body']>;

/** The listener of the node-agents. `close` ends every held poll. */
export function nodeTaskRoutes(deps: ApiDeps): { routes: Route[]; close(): void } {
  const { db } = deps;
  const signingKey = createPrivateKey(readFileSync(deps.config.nodeTaskSigningKeyFile));
  const waiters = createTaskWaiters(deps.redisSubscriber);
  const heartbeats = createHeartbeats(deps.temporal, (nodeId) => waiters.wake(nodeId));
  const completions = createCompletions(deps.temporal, db);
  const offered = new RecentMap<OfferedTask>({ size: maxRemembered });
  const contacts = new Map<string, number>();

  const contact = async (nodeId: NodeId): Promise<void> => {
    const now = performance.now();
    if (now - (contacts.get(nodeId) ?? -Infinity) < contactEveryMs) return;
    await recordContact(db, nodeId);
    contacts.set(nodeId, now);
  };

  /** What to tell the agent now. */
  const look = async (nodeId: NodeId, running: readonly string[]): Promise<Found> => {
    const begun = waiters.looks.begin(nodeId);
    const [tasks, { current, cancel }] = await Promise.all([
      offerTasks(db.q, nodeId, running, batchSize),
      runningTasks(db.q, nodeId, running),
    ]);
    // A full batch says nothing of what did not fit into it.
    if (tasks.length < batchSize) begun.done([...tasks.map((task) => task.id), ...running]);
    for (const task of tasks) offered.set(task.id, offeredTask(task));
    for (const task of current) heartbeats.beat(task);
    const stopped = current.filter((task) => heartbeats.isCancelled(task.id)).map((task) => task.id);
    return { tasks, cancel: [...cancel, ...stopped] };
  };

  const routes = [
    route(waitForTasks, async ({ nodeId, query, signal }) => {
      const running = [...new Set(query.running?.split(',') ?? [])];
      const holdMs = Math.min(query.hold_seconds * 1000, running.length > 0 ? busyHoldMs : Infinity);
      const waiter = waiters.register(nodeId);
      try {
        await contact(nodeId);
        const isQuiet = running.length === 0 && waiters.looks.isQuiet(nodeId);
        const found = await held({ waiter, holdMs, isQuiet, signal }, () => look(nodeId, running));
        // A task that was just offered says when: one round trip less on its way to the agent.
        const serverTime = found.tasks[0]?.lastSeenAt ?? (await readNow(db.q));
        return {
          status: 200,
          body: {
            tasks: found.tasks.map((task) => signTask(task, signingKey)),
            cancel: found.cancel,
            server_time: serverTime.toISOString(),
          },
        };
      } finally {
        waiter.done();
      }
    }),

    route(postTaskResult, async ({ nodeId, params, body }) => {
      const at = { nodeId, taskId: params.task_id };
      const stored = await store(db.q, at, body, offered.get(params.task_id));
      waiters.looks.reported(nodeId, params.task_id);
      heartbeats.forget(params.task_id);
      // Answered before the engine is told: the stored result is what counts, and the reconciler tells it again.
      if (!stored.duplicate) void completions.complete(stored.task, stored.verdict);
      return { status: 200, body: { duplicate: stored.duplicate } };
    }),
  ];
  return { routes, close: () => waiters.close() };
}

interface Found {
  readonly tasks: NodeTaskRow[];
  readonly cancel: string[];
}

interface Hold {
  readonly waiter: Pick<ReturnType<TaskWaiters['register']>, 'wait'>;
  readonly holdMs: number;
  /** True when nothing can be there without a wake. */
  readonly isQuiet: boolean;
  readonly signal: AbortSignal;
}

/** Looks until there is something to tell the agent, or the hold is over. */
async function held({ waiter, holdMs, isQuiet, signal }: Hold, look: () => Promise<Found>): Promise<Found> {
  const until = performance.now() + holdMs;
  const wait = (atMostMs: number): Promise<boolean> => {
    assertNoConnectionHeld('a node task');
    return waiter.wait(atMostMs, signal);
  };
  if (isQuiet) await wait(Math.min(holdMs, quietMs));
  let found: Found = signal.aborted ? { tasks: [], cancel: [] } : await look();
  while (found.tasks.length === 0 && found.cancel.length === 0) {
    const left = until - performance.now();
    if (left <= 0 || signal.aborted || !(await wait(left))) break;
    found = await look();
  }
  return found;
}

/** What a report is judged by. It never changes, so whoever offered the task knows it still. */
type OfferedTask = Pick<
  NodeTaskRow,
  'id' | 'nodeId' | 'allocationId' | 'kind' | 'fence' | 'workflowId' | 'runId' | 'activityId'
>;

const offeredTask = (row: NodeTaskRow): OfferedTask => ({
  id: row.id,
  nodeId: row.nodeId,
  allocationId: row.allocationId,
  kind: row.kind,
  fence: row.fence,
  workflowId: row.workflowId,
  runId: row.runId,
  activityId: row.activityId,
});

interface Stored {
  readonly duplicate: boolean;
  readonly task: OfferedTask;
  readonly verdict: NodeTaskVerdict;
}

/** Stores the report of a task that this process has offered; undefined when its row has to be looked at. */
async function storeOffered(q: Queryable, task: OfferedTask, report: Report): Promise<Stored | undefined> {
  if (report.fence !== task.fence) return undefined;
  const judged = judge(task, report);
  if (judged instanceof CodedError) return undefined;
  const stored = await storeVerdict(q, task, judged.verdict, judged.result);
  return stored ? { duplicate: false, task, verdict: judged.verdict } : undefined;
}

/** How often a report is looked at anew because its task changed between the reading and the writing. */
const maxRounds = 3;

async function store(
  q: Queryable,
  { nodeId, taskId }: { readonly nodeId: NodeId; readonly taskId: string },
  report: Report,
  known: OfferedTask | undefined,
): Promise<Stored> {
  const quick = known?.nodeId === nodeId ? await storeOffered(q, known, report) : undefined;
  if (quick !== undefined) return quick;
  for (let round = 1; round <= maxRounds; round += 1) {
    const task = await findTask(q, nodeId, taskId);
    if (task === undefined) throw new CodedError('node_task_not_found');
    if (report.fence !== task.fence || task.state === 'superseded') throw new CodedError('node_task_fenced');
    if (task.verdict !== null) return { duplicate: true, task, verdict: task.verdict };
    const judged = judge(task, report);
    if (judged instanceof CodedError) throw judged;
    if (await storeVerdict(q, task, judged.verdict, judged.result))
      return { duplicate: false, task, verdict: judged.verdict };
  }
  throw new CodedError('service_unavailable');
}

interface Judged {
  readonly verdict: NodeTaskVerdict;
  readonly result: Record<string, unknown> | null;
}

/** The verdict of a report, or why it is none. */
function judge(task: OfferedTask, report: Report): Judged | CodedError {
  const result = report.outcome === 'succeeded' ? parseResult(task, report.result) : null;
  return result instanceof CodedError ? result : { verdict: verdictOf(task.kind, report, result), result };
}

function parseResult(task: OfferedTask, raw: Record<string, unknown>): Record<string, unknown> | CodedError {
  const parsed = nodeTaskResults[task.kind].safeParse(raw);
  const about = parsed.success && parsed.data.task_type === task.kind;
  const same = parsed.success && (parsed.data.allocation_id ?? task.allocationId) === task.allocationId;
  if (parsed.success && about && same) return { ...parsed.data };
  const issues = parsed.success
    ? [{ path: 'body.result', code: 'mismatch', message: 'is the result of another task' }]
    : parsed.error.issues.map((issue) => ({
        path: ['body.result', ...issue.path.map(String)].join('.'),
        code: issue.code,
        message: issue.message,
      }));
  return new CodedError('validation_error', { details: { issues } });
}

/** A cleanup that says of itself that it did not succeed is a failure that may be tried again. */
const proofs: Partial<Record<NodeTaskKind, { field: 'scrubbed' | 'cleaned' | 'clean'; code: string }>> = {
  'node.gpu_scrub': { field: 'scrubbed', code: 'gpu_not_scrubbed' },
  'node.storage_cleanup': { field: 'cleaned', code: 'storage_not_cleaned' },
  'node.validate_clean': { field: 'clean', code: 'node_not_clean' },
};

/** Codes by which the plane itself says what became of a task; a node that uses one is quoted. */
const keptCodes: readonly string[] = ['node_unreachable', 'node_task_cancelled'];
const quoted = (code: string): string => (keptCodes.includes(code) ? `reported_${code}` : code);

function verdictOf(
  kind: NodeTaskKind,
  report: Report,
  result: Record<string, unknown> | null,
): NodeTaskVerdict {
  if (report.outcome === 'cancelled') return { outcome: 'cancelled' };
  if (report.outcome === 'failed')
    return { outcome: 'failed', failure: { ...report.error, code: quoted(report.error.code) } };
  const proof = proofs[kind];
  if (proof !== undefined && result?.[proof.field] !== true) {
    const failure = { code: proof.code, message: `${kind} did not prove ${proof.field}`, retryable: true };
    return { outcome: 'failed', failure };
  }
  return { outcome: 'succeeded' };
}
