/** What events command an allocation to do: end by force, and run at all. */
import { createHash } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { command as commandRun } from '../../../api/allocations/allocation.commands.ts';
import { updateIdOf } from '../../../api/engine.ts';
import {
  forceReleaseRequested,
  provisioningRequested,
  releasingRequested,
} from '../../../contracts/allocations/allocation.events.ts';
import {
  isTerminalAllocationState,
  type AllocationState,
} from '../../../contracts/allocations/allocation.lifecycle.ts';
import type {
  AllocationInput,
  AllocationRequest,
  ReleaseCommand,
} from '../../../contracts/allocations/allocation.messages.ts';
import {
  asId,
  type AllocationId,
  type OperationId,
  type OrgId,
  type ProjectId,
} from '../../../contracts/ids.ts';
import { uuid5 } from '../../../contracts/uuid5.ts';
import type { AllocationRow } from '../../../db/allocations/allocation.schema.ts';
import { dismissWhereLively, findAllocation } from '../../../db/allocations/allocation.store.ts';
import type { Database } from '../../../db/client.ts';
import { openOperation } from '../../../db/ops/operation.store.ts';
import {
  command,
  rareCommand,
  RejectedEvent,
  TargetUnavailable,
  type Subscription,
} from '../subscription.ts';

export interface AllocationConsumerDeps {
  readonly db: Database;
  readonly temporal: Client;
  /** Starts a run unless it is there. */
  readonly startRun: (
    client: Client,
    input: AllocationInput,
    about: Pick<AllocationRequest, 'orgId' | 'projectId' | 'correlationId'>,
  ) => Promise<boolean>;
}

/**
 * States in which the event is a command. In all others it is old news: an allocation's own way into `releasing`
 * publishes this very event, and commanding it again would never end (decision 0007 allows it in `releasing`, and
 * `release_failed` waits for a person).
 */
const forceable: ReadonlySet<AllocationState> = new Set(['requested', 'provisioning', 'active']);

/** Consumers of the group `provisioning`. */
export const allocationSubscriptions = (deps: AllocationConsumerDeps): Subscription[] => [
  command('provisioning', forceReleaseRequested, async ({ event }) => {
    const { allocation_ids: ids, user_id: userId, reason } = event.payload;
    const rows = [];
    for (const id of ids) rows.push(await ownedRow(deps, id, userId));
    for (const row of rows) {
      if (!forceable.has(row.state)) continue;
      // The event's id is unique to it; each of several allocations gets its own, derived from both.
      const key = ids.length === 1 ? event.event_id : uuid5('force-release', event.event_id, row.id);
      await forceRelease(deps, row, { key, userId, reason, correlationId: event.correlation_id });
    }
  }),

  ensuring(deps, provisioningRequested),
  ensuring(deps, releasingRequested),
];

/** Nothing is commanded before all of them are known to be the user's. */
async function ownedRow(deps: AllocationConsumerDeps, id: string, userId: string): Promise<AllocationRow> {
  const row = await findAllocation(deps.db.q, id);
  if (row === undefined) throw new RejectedEvent('allocation_not_found', 'An allocation does not exist.');
  if (row.userId !== userId) {
    throw new RejectedEvent('ownership_required', "An allocation is another user's.");
  }
  return row;
}

async function forceRelease(
  deps: AllocationConsumerDeps,
  row: AllocationRow,
  of: {
    readonly key: string;
    readonly userId: string;
    readonly reason: string;
    readonly correlationId: string;
  },
): Promise<void> {
  const route = forceReleaseRequested.subject;
  const identity = [of.userId, route, of.key] as const;
  const order: ReleaseCommand = {
    operationId: asId<OperationId>(uuid5('operation', ...identity)),
    command: 'force_release',
    actorUserId: asId(of.userId),
    // The platform acts for the owner: nobody with an admin's role asked for it.
    actorRole: 'user',
    correlationId: of.correlationId,
  };
  const operation = await openOperation(deps.db.q, {
    id: order.operationId,
    caller: of.userId,
    route,
    key: of.key,
    bodyHash: createHash('sha256').update(`${row.id}\n${of.reason}`).digest('hex'),
    kind: 'allocation.force_release',
    orgId: row.orgId,
    entityId: row.id,
    request: { ...order, reason: of.reason },
    correlationId: of.correlationId,
  });
  if (operation.state !== 'open') return;
  const allocationId = asId<AllocationId>(row.id);
  await reach(async () => {
    await deps.startRun(deps.temporal, { allocationId, resume: true }, aboutOf(row));
    const result = await commandRun(deps.temporal, allocationId, order, updateIdOf(...identity));
    if (result.kind === 'unknown') throw new TargetUnavailable('the engine', result.cause);
    // `pending`: the engine has it. `closed`: it ended meanwhile; the reconciler of commands settles the operation.
  });
}

/**
 * A row that moved within this time has a run: only its run moves it. Asking the engine for every event would cost it
 * more than a search attribute; one that is lost so soon afterwards is the reconciler's.
 */
const livelySeconds = 30;

/** The net under a run that was lost before its event came, in an outage for example; one that is there is left alone. */
const ensuring = (
  deps: AllocationConsumerDeps,
  channel: typeof provisioningRequested | typeof releasingRequested,
): Subscription =>
  rareCommand(
    'provisioning',
    channel,
    (q, consumer, { event }) =>
      dismissWhereLively(q, {
        consumer,
        event_id: event.event_id,
        id: event.payload.allocation_id,
        lively_seconds: livelySeconds,
      }),
    ({ event }) => ensureRun(deps, event.payload.allocation_id),
  );

async function ensureRun(deps: AllocationConsumerDeps, id: string): Promise<void> {
  const row = await findAllocation(deps.db.q, id);
  if (row === undefined) throw new RejectedEvent('allocation_not_found', 'The allocation does not exist.');
  if (isTerminalAllocationState(row.state)) return;
  await reach(async () => {
    await deps.startRun(
      deps.temporal,
      { allocationId: asId<AllocationId>(row.id), resume: true },
      aboutOf(row),
    );
  });
}

const aboutOf = (row: AllocationRow) => ({
  orgId: asId<OrgId>(row.orgId),
  projectId: asId<ProjectId>(row.projectId),
  correlationId: row.correlationId,
});

/** An engine that does not answer is no fault of the event. */
async function reach(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ServiceError || isGrpcServiceError(error)) {
      throw new TargetUnavailable('the engine', error);
    }
    throw error;
  }
}
