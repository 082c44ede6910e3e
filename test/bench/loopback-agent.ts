/**
 * A process that is the agent of many nodes at once: it speaks the protocol of the node-agents, verifies every task, does
 * nothing, and reports success at once. What is left to measure is the plane. Each task's arrival is appended to a file.
 */
import { createPublicKey } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { NodeTask } from '../../contracts/nodes/node-task.api.ts';
import { TaskClient, type TaskReport } from '../../workers/node-agent/protocol/client.ts';
import { openTask } from '../../workers/node-agent/protocol/verify.ts';

const environment = z
  .object({
    /** JSON: `[{ "id", "secret" }]`. */
    BENCH_NODES_FILE: z.string(),
    /** One JSON line per task: `task_id`, `allocation_id`, `kind`, `at` (ms since the epoch). */
    BENCH_ARRIVALS_FILE: z.string(),
    AGENT_API_URL: z.url(),
    AGENT_CA_FILE: z.string(),
    AGENT_VERIFY_KEY_FILE: z.string(),
  })
  .parse(process.env);

const holdSeconds = 25;
const retryMs = 200;

const nodes = z
  .array(z.object({ id: z.uuid(), secret: z.string() }))
  .parse(JSON.parse(readFileSync(environment.BENCH_NODES_FILE, 'utf8')));
const verifyKey = createPublicKey(readFileSync(environment.AGENT_VERIFY_KEY_FILE));
const ca = readFileSync(environment.AGENT_CA_FILE, 'utf8');
const connections = new Agent({ keepAlive: true, maxSockets: 2 * nodes.length });
const arrivals = createWriteStream(environment.BENCH_ARRIVALS_FILE, { flags: 'a' });
const ending = new AbortController();

/** What the kind's contract wants to hear of a task that went well. */
function resultOf(task: NodeTask): Record<string, unknown> {
  const about = { task_type: task.kind, allocation_id: task.allocation_id };
  switch (task.kind) {
    case 'node.allocation_prepare': {
      const { username, uid, gid, authorized_keys: keys } = task.params;
      return { ...about, username, uid, gid, authorized_key_count: keys.length };
    }
    case 'node.allocation_cleanup':
      return { ...about, stopped_age_seconds: 0, processes_ended: 0, user_removed: true };
    case 'node.gpu_scrub':
      return { ...about, scrubbed: true };
    case 'node.storage_cleanup':
      return { ...about, cleaned: true };
    case 'node.validate_clean':
      return { ...about, clean: true };
  }
}

async function report(client: TaskClient, task: NodeTask): Promise<void> {
  const result: TaskReport = { fence: task.fence, outcome: 'succeeded', result: resultOf(task) };
  const about = { taskId: task.task_id, correlationId: task.correlation_id, traceparent: task.traceparent };
  await client.postResult(about, result, ending.signal);
}

async function serve(node: { id: string; secret: string }): Promise<void> {
  const { AGENT_API_URL: apiUrl } = environment;
  const client = new TaskClient({ nodeId: node.id, apiUrl, ca, readSecret: () => node.secret, connections });
  while (!ending.signal.aborted) {
    try {
      const batch = await client.waitForTasks([], holdSeconds, ending.signal);
      const at = Date.now();
      for (const raw of batch.tasks) {
        const task = openTask(raw, verifyKey, node.id);
        if (typeof task === 'string') throw new Error(`a task is ${task}`);
        const { task_id, allocation_id, kind } = task;
        arrivals.write(`${JSON.stringify({ task_id, allocation_id, kind, at })}\n`);
        await report(client, task);
      }
    } catch (error) {
      if (ending.signal.aborted) return;
      process.stderr.write(`agent: ${error instanceof Error ? error.message : 'unknown'}\n`);
      await delay(retryMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  }
}

process.on('SIGTERM', () => ending.abort()).on('SIGINT', () => ending.abort());
const loops = nodes.map(serve);
process.stdout.write(`ready: ${nodes.length} nodes\n`);
await Promise.all(loops);
arrivals.end();
connections.destroy();
