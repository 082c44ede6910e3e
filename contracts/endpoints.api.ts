import { allocationEndpoints } from './allocations/allocation.api.ts';
import { personalEndpoints } from './identity/personal.api.ts';
import { projectEndpoints } from './identity/project.api.ts';
import { sshKeyEndpoints } from './identity/ssh-key.api.ts';
import { nodeTaskEndpoints } from './nodes/node-task.api.ts';
import { nodeEndpoints } from './nodes/node.api.ts';
import { skuEndpoints } from './nodes/sku.api.ts';
import { auditLogEndpoints } from './ops/audit-log.api.ts';
import { deadLetterEndpoints } from './ops/dead-letter.api.ts';
import { dlqReplayEndpoints } from './ops/dlq-replay.api.ts';
import { eventLogEndpoints } from './ops/event-log.api.ts';
import { healthEndpoints } from './ops/health.api.ts';
import { notificationEndpoints } from './ops/notification.api.ts';
import { operationEndpoints } from './ops/operation.api.ts';
import { policyEndpoints } from './ops/policy.api.ts';

/** Every endpoint of the contract, in the order of the document. Development-only ones are not part of it. */
export const endpoints = [
  ...healthEndpoints,
  ...personalEndpoints,
  ...projectEndpoints,
  ...sshKeyEndpoints,
  ...skuEndpoints,
  ...operationEndpoints,
  ...notificationEndpoints,
  ...allocationEndpoints,
  ...nodeEndpoints,
  ...policyEndpoints,
  ...auditLogEndpoints,
  ...deadLetterEndpoints,
  ...dlqReplayEndpoints,
  ...eventLogEndpoints,
  ...nodeTaskEndpoints,
] as const;
