/** A node without an agent: its requests are made by hand, over TLS, against the API of a lab. */
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { nodeTaskSchema, type NodeTask } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { seedSkus } from '../../db/nodes/sku.store.ts';
import { ensureDevPki } from '../../workers/local/pki.ts';
import { field, type ApiAnswer } from '../harness/api.ts';
import { until, type Lab } from '../harness/lab.ts';

export interface Signed {
  readonly payload: string;
  readonly signature: string;
}

export interface PollOptions {
  readonly holdSeconds?: number;
  readonly running?: readonly string[];
  /** Another credential than the node's own; null sends none. */
  readonly token?: string | null;
}

/** One registered node and the requests of its agent. */
export class HandMadeNode {
  readonly id: string;
  readonly sku: string;
  readonly secret: string;
  readonly #lab: Lab;

  constructor(lab: Lab, node: { readonly id: string; readonly sku: string; readonly secret: string }) {
    this.#lab = lab;
    this.id = node.id;
    this.sku = node.sku;
    this.secret = node.secret;
  }

  poll({ holdSeconds = 0, running = [], token = this.secret }: PollOptions = {}): Promise<ApiAnswer> {
    const query = new URLSearchParams({ hold_seconds: String(holdSeconds) });
    if (running.length > 0) query.set('running', running.join(','));
    const at = `/internal/v1/nodes/${this.id}/tasks/wait?${query.toString()}`;
    return this.#lab.api.internal('GET', at, token === null ? {} : { token });
  }

  post(taskId: string, body: unknown, token: string | null = this.secret): Promise<ApiAnswer> {
    const at = `/internal/v1/nodes/${this.id}/tasks/${taskId}/result`;
    return this.#lab.api.internal('POST', at, { body, ...(token === null ? {} : { token }) });
  }

  /** Polls until there is a task. @returns it as it travelled. */
  async offered(): Promise<Signed> {
    let found: Signed | undefined;
    await until('a task is offered', async () => {
      found = signedOf(await this.poll({ holdSeconds: 5 }))[0];
      return found !== undefined;
    });
    if (found === undefined) throw new Error('no task');
    return found;
  }

  /** Works on whatever is offered until the allocation is in the state. @returns the tasks in order. */
  async workUntil(allocationId: string, state: 'active' | 'released'): Promise<Signed[]> {
    const worked: Signed[] = [];
    await until(`${allocationId} is ${state}`, async () => {
      for (const signed of signedOf(await this.poll({ holdSeconds: 1 }))) {
        const task = taskOf(signed);
        const answer = await this.post(task.task_id, successOf(task));
        expect([answer.status, answer.body]).toEqual([200, { duplicate: false }]);
        worked.push(signed);
      }
      return (await this.#lab.row(allocationId))?.state === state;
    });
    return worked;
  }
}

/** Registers a node of a SKU that nobody else has, and makes it available by its first poll. */
export async function registerByHand(lab: Lab): Promise<HandMadeNode> {
  const sku = `by-hand-${randomUUID()}`;
  await seedSkus(lab.db.q, [
    {
      code: sku,
      title: sku,
      gpuModel: 'simulated',
      gpuCount: 2,
      cpuCores: 1,
      memoryGib: 1,
      pricePerHourMinor: 100,
      currency: 'USD',
    },
  ]);
  const registered = await lab.request('POST', '/api/v1/admin/nodes', {
    as: 'dev-admin',
    body: { name: sku, sku, ssh_host: '127.0.0.1', ssh_port: 22 },
  });
  expect(registered.status).toBe(201);
  const secret = String(field(registered, 'agent_secret'));
  const node = new HandMadeNode(lab, { id: String(field(registered, 'id')), sku, secret });
  expect((await node.poll()).status).toBe(200);
  return node;
}

/** The tasks of an answer, as they travelled. */
export const signedOf = (answer: ApiAnswer): Signed[] => {
  expect(answer.status).toBe(200);
  return field(answer, 'tasks') as Signed[];
};

/** The task, by the schema that knows no other members than its own. */
export const taskOf = ({ payload }: Signed): NodeTask => {
  const raw: unknown = JSON.parse(payload);
  const task = nodeTaskSchema.parse(raw);
  expect(raw).toEqual(task);
  return task;
};

/** Whether the signature is that of the plane's key over exactly these bytes. */
export async function isSigned(lab: Lab, { payload, signature }: Signed): Promise<boolean> {
  const { TASK_VERIFY_KEY_FILE } = await ensureDevPki(path.join(lab.api.stateDir, 'pki'));
  const key = createPublicKey(readFileSync(TASK_VERIFY_KEY_FILE));
  return verify(null, Buffer.from(payload), key, Buffer.from(signature, 'base64url'));
}

/** The report of a task that went well. */
export function successOf(task: NodeTask) {
  const about = { task_type: task.kind, allocation_id: task.allocation_id };
  const results: Record<NodeTaskKind, () => object> = {
    'node.allocation_prepare': () => {
      if (task.kind !== 'node.allocation_prepare') throw new Error('another kind');
      const { username, uid, gid, authorized_keys: keys } = task.params;
      return { ...about, username, uid, gid, authorized_key_count: keys.length };
    },
    'node.allocation_cleanup': () => ({
      ...about,
      stopped_age_seconds: 0.5,
      processes_ended: 1,
      user_removed: true,
    }),
    'node.gpu_scrub': () => ({ ...about, scrubbed: true }),
    'node.storage_cleanup': () => ({ ...about, cleaned: true }),
    'node.validate_clean': () => ({ ...about, clean: true }),
  };
  return { fence: task.fence, outcome: 'succeeded', result: results[task.kind]() };
}
