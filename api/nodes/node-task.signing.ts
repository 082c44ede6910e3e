import { sign, type KeyObject } from 'node:crypto';
import type { z } from 'zod';
import {
  nodeTaskSchema,
  type NodeTask,
  type signedNodeTaskSchema,
} from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskRow } from '../../db/nodes/node-task.schema.ts';

/** The task as it travels: exact bytes and their Ed25519 signature. */
export function signTask(row: NodeTaskRow, key: KeyObject): z.infer<typeof signedNodeTaskSchema> {
  const task: NodeTask = nodeTaskSchema.parse({
    task_id: row.id,
    node_id: row.nodeId,
    allocation_id: row.allocationId,
    kind: row.kind,
    params: row.params,
    fence: row.fence,
    issued_at: row.createdAt.toISOString(),
    expires_at: row.expiresAt.toISOString(),
    correlation_id: row.correlationId,
    traceparent: row.traceparent,
  });
  const payload = JSON.stringify(task);
  return { payload, signature: sign(null, Buffer.from(payload), key).toString('base64url') };
}
