import { randomUUID } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { nodeTaskResults, nodeTaskSchema, type NodeTask } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { TaskFailure } from '../../workers/node-agent/failure.ts';
import { AllocationRecords } from '../../workers/node-agent/records.ts';
import type { NodeRuntime } from '../../workers/node-agent/runtime/runtime.ts';
import { openSimulatedNode } from '../../workers/node-agent/runtime/simulated/simulated.ts';
import { executeTask } from '../../workers/node-agent/tasks/index.ts';
import { newTenant } from './agent-process.ts';

export type ParamsOf<K extends NodeTaskKind> = Extract<NodeTask, { kind: K }>['params'];

export let root: string;
export let runtime: NodeRuntime;
export let records: AllocationRecords;
export let tenant: ReturnType<typeof newTenant>;
export let allocationId: string;
export let home: string;

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gpuaas-node-'));
  runtime = openSimulatedNode({ root, gpuCount: 2 });
  records = new AllocationRecords(path.join(root, 'var/lib/gpuaas-node-agent'));
  await records.prepare();
  tenant = newTenant();
  allocationId = tenant.allocation_id;
  home = `/home/${tenant.username}`;
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Changes what the tenant asks for. */
export function changeTenant(changes: Partial<typeof tenant>): void {
  tenant = { ...tenant, ...changes };
}

/** Goes on with another node. */
export function useNode(node: NodeRuntime): void {
  runtime = node;
}

export const at = (nodePath: string): string => path.join(root, nodePath);

/** Executes a task as an agent would, and checks its result against the contract. */
export async function run<K extends NodeTaskKind>(
  kind: K,
  params: ParamsOf<K>,
  signal = new AbortController().signal,
): Promise<Record<string, unknown>> {
  const task = nodeTaskSchema.parse({
    task_id: randomUUID(),
    node_id: randomUUID(),
    allocation_id: params.allocation_id ?? null,
    kind,
    params,
    fence: 1,
    issued_at: new Date().toISOString(),
    expires_at: new Date().toISOString(),
    correlation_id: 'test',
    traceparent: null,
  });
  const result = await executeTask(task, { runtime, records, allocationId: task.allocation_id, signal });
  return { ...nodeTaskResults[kind].parse(result) };
}

/** What a task fails with. */
export async function failureOf(work: Promise<unknown>): Promise<{ code: string; retryable: boolean }> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof TaskFailure)) throw error;
    expect(error.message).not.toContain(tenant.username);
    return { code: error.code, retryable: error.retryable };
  }
  throw new Error('it did not fail');
}

export const prepare = () => run('node.allocation_prepare', tenant);
export const cleanup = () => {
  const { username, uid } = tenant;
  return run('node.allocation_cleanup', { allocation_id: allocationId, username, uid, reason: 'test' });
};
export const scrub = (mode: 'reset' | 'verify_only') =>
  run('node.gpu_scrub', { allocation_id: allocationId, mode, container_runtime: 'none', reason: 'test' });
export const tenantPaths = () => [home, `/scratch/${allocationId}`, `/mnt/gpuaas/${allocationId}`];
export const storage = (changes: Partial<ParamsOf<'node.storage_cleanup'>> = {}) =>
  run('node.storage_cleanup', {
    allocation_id: allocationId,
    paths: tenantPaths(),
    delete_empty_dirs: true,
    reason: 'test',
    ...changes,
  });
export const allChecks = ['gpu_processes', 'runtime_containers', 'mounts', 'paths', 'block_devices'] as const;
export const validate = (changes: Partial<ParamsOf<'node.validate_clean'>> = {}) =>
  run('node.validate_clean', {
    allocation_id: allocationId,
    checks: [...allChecks],
    paths: tenantPaths(),
    reason: 'test',
    ...changes,
  });

export const plant = (nodePath: string, text = 'data\n'): void => {
  mkdirSync(path.dirname(at(nodePath)), { recursive: true });
  writeFileSync(at(nodePath), text);
};
export const startProcess = (pid: number, more: object = {}): void =>
  plant(`/proc/${pid}.json`, JSON.stringify({ uid: tenant.uid, ...more }));

/** Everything on the node: paths, owners, modes, contents. */
export function snapshot(directory = root): string[] {
  return readdirSync(directory).flatMap((name) => {
    const file = path.join(directory, name);
    const found = lstatSync(file);
    const head = `${file.slice(root.length)} ${found.uid}:${found.gid} ${(found.mode & 0o7777).toString(8)}`;
    if (found.isDirectory()) return [head, ...snapshot(file)];
    return [`${head} ${found.isFile() ? readFileSync(file, 'utf8') : ''}`];
  });
}
