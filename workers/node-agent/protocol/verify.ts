import { verify, type KeyObject } from 'node:crypto';
import {
  nodeTaskSchema,
  signedNodeTaskSchema,
  type NodeTask,
} from '../../../contracts/nodes/node-task.api.ts';

export type Rubbish = 'malformed' | 'bad_signature' | 'unparsable' | 'foreign_node';

/**
 * Reads a task as it came over the wire. The signature is checked over the exact bytes before anything of them is parsed.
 * @returns the task, or what is wrong with it.
 */
export function openTask(raw: unknown, key: KeyObject, nodeId: string): NodeTask | Rubbish {
  const envelope = signedNodeTaskSchema.safeParse(raw);
  if (!envelope.success) return 'malformed';
  const bytes = Buffer.from(envelope.data.payload, 'utf8');
  const signature = Buffer.from(envelope.data.signature, 'base64url');
  if (signature.length !== 64 || !verify(null, bytes, key, signature)) return 'bad_signature';
  const task = nodeTaskSchema.safeParse(parseJson(envelope.data.payload));
  if (!task.success) return 'unparsable';
  return task.data.node_id === nodeId ? task.data : 'foreign_node';
}

/** The JSON value of a text, or undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
