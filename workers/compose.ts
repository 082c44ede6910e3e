/** Wires each port of the activities to its owner's store: the only place where the domains of a worker meet. */
import type { Redis } from 'ioredis';
import { createAllocationActivities } from '../activities/allocations/allocation.activities.ts';
import type { FundsPort, PolicyPort, WakePort } from '../activities/allocations/allocation.ports.ts';
import { createDlqReplayActivities } from '../activities/ops/dlq-replay.activities.ts';
import type { ReplayPort } from '../activities/ops/dlq-replay.ports.ts';
import { wakeChannels } from '../contracts/wakes.ts';
import { writeAudit } from '../db/audit.ts';
import type { Database } from '../db/client.ts';
import * as access from '../db/identity/access.store.ts';
import * as tasks from '../db/nodes/node-task.store.ts';
import * as placements from '../db/nodes/placement.store.ts';
import type { PolicyReader } from '../db/ops/policy.store.ts';
import { partitionOf } from '../db/outbox.ts';

/** Every allocation is funded: nobody asks for money yet. */
const noFundsNeeded: FundsPort = { hold: () => Promise.resolve(undefined) };

const policyPort = (policies: PolicyReader): PolicyPort => ({
  async allocationBudgets() {
    return {
      taskTimeoutSeconds: await policies.get('allocation.task_timeout_seconds'),
      taskAttempts: await policies.get('allocation.task_attempts'),
      taskRetryMilliseconds: await policies.get('allocation.task_retry_milliseconds'),
      maxConcurrentPerUser: await policies.get('allocation.max_concurrent_per_user'),
      offlineAfterSeconds: await policies.get('node.offline_after_seconds'),
    };
  },
});

const wakePort = (redis: Redis): WakePort => {
  const send = (channel: string, message: string) => {
    // A wake that is lost costs a sweep's time: whoever waits looks again by itself.
    if (redis.status === 'ready') redis.publish(channel, message).catch(() => undefined);
  };
  return {
    node: (nodeId) => send(wakeChannels.nodeTask, nodeId),
    relay: (aggregateId) => send(wakeChannels.outbox, String(partitionOf(aggregateId))),
  };
};

/** The activities of the `provisioning` queue. */
export function provisioningActivities(parts: { db: Database; redis: Redis; policies: PolicyReader }) {
  return createAllocationActivities({
    db: parts.db,
    identity: access,
    placements,
    funds: noFundsNeeded,
    policies: policyPort(parts.policies),
    audit: { writeAudit },
    tasks,
    wake: wakePort(parts.redis),
  });
}

/** The activities of the `ops` queue. */
export const opsActivities = (parts: { db: Database; replays: ReplayPort }) =>
  createDlqReplayActivities({ db: parts.db, replays: parts.replays });
