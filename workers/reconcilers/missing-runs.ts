/**
 * Starts the missing run of every live row, and of every request that was accepted and never decided: a lost or
 * terminated run, or a lost namespace, costs time and not state.
 */
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { startOptions } from '../../api/allocations/allocation.commands.ts';
import {
  allocationWorkflowType,
  type AllocationInput,
  type AllocationRequest,
} from '../../contracts/allocations/allocation.messages.ts';
import {
  allocationWorkflowId,
  asId,
  type AllocationId,
  type OrgId,
  type ProjectId,
} from '../../contracts/ids.ts';
import { assertNoConnectionHeld, type Database } from '../../db/client.ts';
import { liveAllocations } from '../../db/allocations/allocation.store.ts';
import { staleOpenOperations } from '../../db/ops/operation.store.ts';

const pageSize = 500;
/** Undecided requests younger than this are on their normal way. */
const undecidedAgeSeconds = 15;
const nilUuid = '00000000-0000-0000-0000-000000000000';

export interface MissingRunsDeps {
  readonly db: Database;
  readonly client: Client;
  readonly log: Logger;
}

/** One sweep. @returns how many runs it started. */
export async function startMissingRuns(deps: MissingRunsDeps): Promise<number> {
  const open = await openRunIds(deps.client);
  return (await resumeLiveRows(deps, open)) + (await startUndecided(deps, open));
}

async function openRunIds(client: Client): Promise<ReadonlySet<string>> {
  assertNoConnectionHeld('temporal');
  const ids = new Set<string>();
  const query = `WorkflowType = '${allocationWorkflowType}' AND ExecutionStatus = 'Running'`;
  for await (const run of client.workflow.list({ query, pageSize: 1000 })) ids.add(run.workflowId);
  return ids;
}

async function resumeLiveRows(deps: MissingRunsDeps, open: ReadonlySet<string>): Promise<number> {
  let started = 0;
  for (let after = nilUuid; ;) {
    const rows = await liveAllocations(deps.db.q, after, pageSize);
    for (const row of rows) {
      const allocationId = asId<AllocationId>(row.id);
      if (open.has(allocationWorkflowId(allocationId))) continue;
      const about = {
        orgId: asId<OrgId>(row.orgId),
        projectId: asId<ProjectId>(row.projectId),
        correlationId: row.correlationId,
      };
      if (await startIfMissing(deps, { allocationId, resume: true }, about)) started += 1;
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageSize) return started;
    after = last.id;
  }
}

async function startUndecided(deps: MissingRunsDeps, open: ReadonlySet<string>): Promise<number> {
  let started = 0;
  const undecided = await staleOpenOperations(deps.db.q, 'allocation.create', undecidedAgeSeconds, pageSize);
  for (const operation of undecided) {
    const allocationId = asId<AllocationId>(operation.entityId);
    if (open.has(allocationWorkflowId(allocationId))) continue;
    const request = operation.request as unknown as AllocationRequest;
    if (await startIfMissing(deps, { allocationId, resume: false, request }, request)) started += 1;
  }
  return started;
}

/** As `startRun`; one that cannot be started must not keep the others from it. */
async function startIfMissing(
  deps: MissingRunsDeps,
  input: AllocationInput,
  about: Pick<AllocationRequest, 'orgId' | 'projectId' | 'correlationId'>,
): Promise<boolean> {
  try {
    if (!(await startRun(deps.client, input, about))) return false;
  } catch (error) {
    deps.log.warn({ allocation_id: input.allocationId, error }, 'a missing run cannot be started');
    return false;
  }
  deps.log.warn({ allocation_id: input.allocationId, resume: input.resume }, 'started a missing run');
  return true;
}

/**
 * Starts a run unless it is there. A list of open runs may lag behind: only a look at the run itself is proof that it is
 * gone.
 * @returns true when it started one.
 * @throws the engine's error.
 */
export async function startRun(
  client: Client,
  input: AllocationInput,
  about: Pick<AllocationRequest, 'orgId' | 'projectId' | 'correlationId'>,
): Promise<boolean> {
  assertNoConnectionHeld('temporal');
  const options = startOptions(input, about);
  try {
    if (await isRunning(client, options.workflowId)) return false;
    await client.workflow.start(allocationWorkflowType, {
      ...options,
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

async function isRunning(client: Client, workflowId: string): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
