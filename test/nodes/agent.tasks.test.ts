import { randomUUID } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeTaskResults, nodeTaskSchema, type NodeTask } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import { TaskFailure } from '../../workers/node-agent/failure.ts';
import { AllocationRecords } from '../../workers/node-agent/records.ts';
import type { NodeRuntime } from '../../workers/node-agent/runtime/runtime.ts';
import { openSimulatedNode } from '../../workers/node-agent/runtime/simulated/simulated.ts';
import { executeTask } from '../../workers/node-agent/tasks/index.ts';
import { newTenant, publicKey } from './agent-process.ts';

type ParamsOf<K extends NodeTaskKind> = Extract<NodeTask, { kind: K }>['params'];

let root: string;
let runtime: NodeRuntime;
let records: AllocationRecords;
let tenant: ReturnType<typeof newTenant>;
let allocationId: string;
let home: string;

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

const at = (nodePath: string): string => path.join(root, nodePath);

/** Executes a task as an agent would, and checks its result against the contract. */
async function run<K extends NodeTaskKind>(
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
async function failureOf(work: Promise<unknown>): Promise<{ code: string; retryable: boolean }> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof TaskFailure)) throw error;
    expect(error.message).not.toContain(tenant.username);
    return { code: error.code, retryable: error.retryable };
  }
  throw new Error('it did not fail');
}

const prepare = () => run('node.allocation_prepare', tenant);
const cleanup = () => {
  const { username, uid } = tenant;
  return run('node.allocation_cleanup', { allocation_id: allocationId, username, uid, reason: 'test' });
};
const scrub = (mode: 'reset' | 'verify_only') =>
  run('node.gpu_scrub', { allocation_id: allocationId, mode, container_runtime: 'none', reason: 'test' });
const tenantPaths = () => [home, `/scratch/${allocationId}`, `/mnt/gpuaas/${allocationId}`];
const storage = (changes: Partial<ParamsOf<'node.storage_cleanup'>> = {}) =>
  run('node.storage_cleanup', {
    allocation_id: allocationId,
    paths: tenantPaths(),
    delete_empty_dirs: true,
    reason: 'test',
    ...changes,
  });
const allChecks = ['gpu_processes', 'runtime_containers', 'mounts', 'paths', 'block_devices'] as const;
const validate = (changes: Partial<ParamsOf<'node.validate_clean'>> = {}) =>
  run('node.validate_clean', {
    allocation_id: allocationId,
    checks: [...allChecks],
    paths: tenantPaths(),
    reason: 'test',
    ...changes,
  });

const plant = (nodePath: string, text = 'data\n'): void => {
  mkdirSync(path.dirname(at(nodePath)), { recursive: true });
  writeFileSync(at(nodePath), text);
};
const startProcess = (pid: number, more: object = {}): void =>
  plant(`/proc/${pid}.json`, JSON.stringify({ uid: tenant.uid, ...more }));

/** Everything on the node: paths, owners, modes, contents. */
function snapshot(directory = root): string[] {
  return readdirSync(directory).flatMap((name) => {
    const file = path.join(directory, name);
    const found = lstatSync(file);
    const head = `${file.slice(root.length)} ${found.uid}:${found.gid} ${(found.mode & 0o7777).toString(8)}`;
    if (found.isDirectory()) return [head, ...snapshot(file)];
    return [`${head} ${found.isFile() ? readFileSync(file, 'utf8') : ''}`];
  });
}

describe('node.allocation_prepare', () => {
  it('makes group, user, home and exactly the given keys; twice is once', async () => {
    tenant = { ...tenant, authorized_keys: [`${publicKey} one`, publicKey] };
    expect(await prepare()).toEqual({
      task_type: 'node.allocation_prepare',
      allocation_id: allocationId,
      username: tenant.username,
      uid: tenant.uid,
      gid: tenant.gid,
      authorized_key_count: 2,
    });
    const { username, uid, gid } = tenant;
    expect(readFileSync(at('/etc/passwd'), 'utf8')).toContain(
      `${username}:x:${uid}:${gid}::${home}:/bin/bash\n`,
    );
    expect(readFileSync(at('/etc/group'), 'utf8')).toContain(`${username}:x:${gid}:\n`);
    for (const [file, mode] of [
      [home, 0o700],
      [`${home}/.ssh`, 0o700],
      [`${home}/.ssh/authorized_keys`, 0o600],
    ] as const) {
      const found = lstatSync(at(file));
      expect([found.uid, found.gid, found.mode & 0o777]).toEqual([uid, gid, mode]);
    }
    expect(readFileSync(at(`${home}/.ssh/authorized_keys`), 'utf8')).toBe(`${publicKey} one\n${publicKey}\n`);
    const before = snapshot();
    await prepare();
    expect(snapshot()).toEqual(before);
  });

  it('replaces keys', async () => {
    await prepare();
    tenant = { ...tenant, authorized_keys: [] };
    expect(await prepare()).toMatchObject({ authorized_key_count: 0 });
    expect(readFileSync(at(`${home}/.ssh/authorized_keys`), 'utf8')).toBe('');
  });

  it('writes through no link that a tenant has laid', async () => {
    await prepare();
    plant('/etc/shadow', 'precious');
    rmSync(at(`${home}/.ssh`), { recursive: true });
    symlinkSync(at('/etc'), at(`${home}/.ssh`));
    await prepare();
    expect(existsSync(at('/etc/authorized_keys'))).toBe(false);
    rmSync(at(`${home}/.ssh/authorized_keys`));
    symlinkSync(at('/etc/shadow'), at(`${home}/.ssh/authorized_keys`));
    await prepare();
    expect(readFileSync(at('/etc/shadow'), 'utf8')).toBe('precious');
    expect(lstatSync(at(`${home}/.ssh/authorized_keys`)).isFile()).toBe(true);
  });

  it.each([
    ['uid of another', { username: 'other' }],
    ['name of another', { uid: 15_000 }],
    ['group number of another', { username: 'other', uid: 15_000 }],
    ['system user', { username: 'root' }],
  ])('refuses the %s', async (_, changes) => {
    await prepare();
    const before = snapshot();
    const strange = { ...tenant, allocation_id: randomUUID(), ...changes };
    expect(await failureOf(run('node.allocation_prepare', strange))).toEqual({
      code: 'posix_identity_conflict',
      retryable: false,
    });
    expect(snapshot()).toEqual(before);
  });

  it.each(['command="x" ssh-ed25519 AAAA', `${publicKey}\n${publicKey}`, 'garbage', `${publicKey} a\u0007`])(
    'refuses the key line %j',
    async (key) => {
      tenant = { ...tenant, authorized_keys: [key] };
      expect(await failureOf(prepare())).toEqual({ code: 'authorized_key_invalid', retryable: false });
    },
  );

  it('refuses a GPU slot that the node does not have', async () => {
    tenant = { ...tenant, gpu_slots: [0, 2] };
    expect(await failureOf(prepare())).toEqual({ code: 'gpu_slot_unknown', retryable: false });
  });

  it('refuses parameters of another allocation than the task', async () => {
    const params = { mode: 'reset', allocation_id: allocationId, reason: 'test' } as const;
    const task = { kind: 'node.gpu_scrub', params, allocation_id: randomUUID() } as NodeTask;
    const { signal } = new AbortController();
    const work = executeTask(task, { runtime, records, allocationId: task.allocation_id, signal });
    expect(await failureOf(work)).toEqual({ code: 'task_mismatch', retryable: false });
  });
});

describe('node.allocation_cleanup', () => {
  it('ends processes, also ones that ignore TERM, and removes user, home and keys; twice is once', async () => {
    await prepare();
    plant(`${home}/deep/er/file`);
    startProcess(100);
    startProcess(101, { ignores: 'term' });
    plant('/proc/102.json', JSON.stringify({ uid: tenant.uid + 1000 }));
    expect(await cleanup()).toMatchObject({ processes_ended: 2, user_removed: true });
    expect(existsSync(at(home))).toBe(false);
    expect(readFileSync(at('/etc/passwd'), 'utf8')).toBe('root:x:0:0:root:/root:/bin/bash\n');
    expect(readFileSync(at('/etc/group'), 'utf8')).toBe('root:x:0:\n');
    expect(readdirSync(at('/proc'))).toEqual(['102.json']);
    const before = snapshot();
    const again = await cleanup();
    expect(again).toMatchObject({ processes_ended: 0, user_removed: true });
    expect(again['stopped_age_seconds']).toBeGreaterThan(0);
    expect(snapshot()).toEqual(before);
  });

  it('has nothing to do on a node where nothing is left', async () => {
    expect(await cleanup()).toMatchObject({
      processes_ended: 0,
      user_removed: true,
      allocation_id: allocationId,
    });
  });

  it('fails, to be tried again, when a process does not end', { timeout: 20_000 }, async () => {
    await prepare();
    startProcess(100, { ignores: 'kill' });
    expect(await failureOf(cleanup())).toEqual({ code: 'processes_survived', retryable: true });
    expect(existsSync(at(`${home}/.ssh/authorized_keys`))).toBe(false);
    expect(existsSync(at(home))).toBe(true);
  });

  it.each([['root'], ['other']])('never touches a user of another number: %s', async (username) => {
    await prepare();
    const params = { allocation_id: allocationId, username, uid: tenant.uid, reason: 'test' };
    const before = snapshot();
    expect(await failureOf(run('node.allocation_cleanup', params))).toMatchObject({
      code: 'posix_identity_conflict',
    });
    expect(snapshot()).toEqual(before);
  });

  it('removes what the tenant left in shared folders, and nothing of others', async () => {
    await prepare();
    plant('/tmp/mine/file');
    plant('/tmp/foreign');
    await runtime.giveTo('/tmp/mine', tenant.uid, tenant.gid);
    await cleanup();
    expect(readdirSync(at('/tmp'))).toEqual(['foreign']);
  });
});

describe('node.gpu_scrub', () => {
  it('clears what prepare has left in memory; verify_only only looks; twice is once', async () => {
    await prepare();
    expect(await scrub('verify_only')).toMatchObject({
      scrubbed: false,
      proof: { gpus_examined: 2, gpus_reset: 0 },
    });
    const first = await scrub('reset');
    expect(first).toMatchObject({ scrubbed: true, proof: { gpus_examined: 2, gpus_reset: 2 } });
    expect(first['findings']).toHaveLength(2);
    expect(await scrub('reset')).toMatchObject({ scrubbed: true, findings: [] });
    expect(await scrub('verify_only')).toMatchObject({ scrubbed: true });
  });

  it('touches only the GPUs of its allocation, or those it names', async () => {
    tenant = { ...tenant, gpu_slots: [1] };
    await prepare();
    await run('node.allocation_prepare', newTenant({ gpu_slots: [0] }));
    expect(await scrub('reset')).toMatchObject({ scrubbed: true, proof: { gpus_examined: 1 } });
    const zero = runtime.gpus.inspect([{ slot: 0, pciAddress: '0000:17:00.0' }]);
    expect((await zero)[0]?.residueBytes).toBeGreaterThan(0);
    const named = { mode: 'reset', gpu_pci_addresses: ['0000:17:00.0'], reason: 'test' } as const;
    expect(
      await run('node.gpu_scrub', { ...named, gpu_pci_addresses: [...named.gpu_pci_addresses] }),
    ).toMatchObject({
      scrubbed: true,
      proof: { gpus_examined: 1 },
    });
    const strange = run('node.gpu_scrub', {
      mode: 'reset',
      gpu_pci_addresses: ['0000:ff:00.0'],
      reason: 'test',
    });
    expect(await failureOf(strange)).toEqual({ code: 'gpu_unknown', retryable: false });
  });

  it('fails while a process uses the GPU', async () => {
    await prepare();
    writeFileSync(
      at('/dev/gpu0.json'),
      JSON.stringify({ slot: 0, pci_address: '0000:17:00.0', processes: [7] }),
    );
    expect(await failureOf(scrub('reset'))).toEqual({ code: 'gpu_busy', retryable: true });
  });

  it('removes containers of the allocation when it is told of a container runtime', async () => {
    plant('/containers/c1.json', JSON.stringify({ allocation_id: allocationId }));
    plant('/containers/c2.json', JSON.stringify({ allocation_id: randomUUID() }));
    const params = { allocation_id: allocationId, mode: 'reset', reason: 'test' } as const;
    await run('node.gpu_scrub', { ...params, container_runtime: 'docker' });
    expect(readdirSync(at('/containers'))).toEqual(['c2.json']);
  });

  it('says so when there is no GPU', async () => {
    const bare = mkdtempSync(path.join(root, 'bare-'));
    runtime = openSimulatedNode({ root: bare, gpuCount: 0 });
    expect(await scrub('reset')).toMatchObject({ scrubbed: true, findings: [{ kind: 'no_gpus' }] });
  });
});

describe('node.storage_cleanup', () => {
  it('removes what lies in the areas of the allocation; twice is once', async () => {
    await prepare();
    plant(`${home}/a`);
    plant(`/scratch/${allocationId}/x/y/z`);
    plant(`/mnt/gpuaas/${allocationId}/data`);
    plant(`/scratch/${randomUUID()}/other`);
    expect(await storage()).toMatchObject({ cleaned: true, proof: { paths_examined: 3, files_removed: 4 } });
    expect([home, ...tenantPaths()].some((file) => existsSync(at(file)))).toBe(false);
    expect(readdirSync(at('/scratch'))).toHaveLength(1);
    expect(await storage()).toMatchObject({ cleaned: true, proof: { files_removed: 0 } });
  });

  it('keeps the folder itself unless told otherwise', async () => {
    plant(`/scratch/${allocationId}/x/y`);
    await storage({ paths: [`/scratch/${allocationId}`], delete_empty_dirs: false });
    expect(readdirSync(at(`/scratch/${allocationId}`))).toEqual([]);
  });

  it.each([
    ['up', () => `/scratch/${allocationId}/../other`],
    ['up out of the root', () => `/scratch/${allocationId}/../../../../etc`],
    ['another allocation', () => `/scratch/${randomUUID()}`],
    ['the name as a prefix', () => `/scratch/${allocationId}-not`],
    ['all of scratch', () => '/scratch'],
    ['another home', () => '/home/other'],
    ['the system', () => '/etc'],
    ['the root', () => '/'],
    ['relative', () => `scratch/${allocationId}`],
    ['doubled slashes', () => `//scratch/${allocationId}`],
    ['a NUL', () => `/scratch/${allocationId}/\0`],
    ['empty', () => ''],
  ])('refuses a path that is %s, and then does nothing at all', async (_, given) => {
    await prepare();
    plant('/home/other/file');
    plant(`/scratch/${allocationId}/file`);
    plant('/scratch/other/file');
    const before = snapshot();
    const work = storage({ paths: [`/scratch/${allocationId}`, given()] });
    expect(await failureOf(work)).toEqual({ code: 'path_refused', retryable: false });
    expect(snapshot()).toEqual(before);
  });

  it('refuses a path that leads through a link, and follows none inside', async () => {
    await prepare();
    plant('/etc/precious');
    plant(`/scratch/${allocationId}/file`);
    symlinkSync(at('/etc'), at(`/scratch/${allocationId}/link`));
    for (const end of ['link', 'link/precious']) {
      const work = storage({ paths: [`/scratch/${allocationId}/${end}`] });
      expect(await failureOf(work)).toEqual({ code: 'path_refused', retryable: false });
    }
    await storage();
    expect(existsSync(at(`/scratch/${allocationId}`))).toBe(false);
    expect(readFileSync(at('/etc/precious'), 'utf8')).toBe('data\n');
  });

  it('refuses paths of no allocation, and a home whose owner is not known', async () => {
    const params = { paths: ['/scratch/x'], reason: 'test' };
    expect(await failureOf(run('node.storage_cleanup', params))).toMatchObject({ code: 'path_refused' });
    plant('/home/somebody/file');
    expect(await failureOf(storage({ paths: ['/home/somebody'] }))).toMatchObject({ code: 'path_refused' });
  });

  it('lets mounted storage go before it removes anything', async () => {
    plant(
      '/proc/mounts',
      `nas:/x /mnt/gpuaas/${allocationId}/vol nfs rw 0 0\nnas:/y /mnt/other nfs rw 0 0\n`,
    );
    expect(await storage()).toMatchObject({ proof: { mounts_removed: 1 } });
    expect(readFileSync(at('/proc/mounts'), 'utf8')).toBe('nas:/y /mnt/other nfs rw 0 0\n');
  });

  it('wipes devices and reads them back', async () => {
    plant('/dev/nvme0n1', 'x'.repeat(3_000_000));
    expect(await storage({ wipe_block_devices: ['/dev/nvme0n1'] })).toMatchObject({
      cleaned: true,
      proof: { block_devices_wiped: 1, block_device_bytes_read: 3_000_000 },
    });
    expect(readFileSync(at('/dev/nvme0n1')).every((byte) => byte === 0)).toBe(true);
    for (const [device, code] of [
      ['/dev/gpu0.json', 'device_refused'],
      ['/dev/../etc/passwd', 'device_refused'],
      ['/dev/nvme9n9', 'device_missing'],
    ] as const) {
      expect(await failureOf(storage({ wipe_block_devices: [device] }))).toEqual({ code, retryable: false });
    }
  });

  it('stops between files when it is cancelled', async () => {
    plant(`/scratch/${allocationId}/file`);
    const cancelled = AbortSignal.abort();
    const params = { allocation_id: allocationId, paths: [`/scratch/${allocationId}`], reason: 'test' };
    await expect(run('node.storage_cleanup', params, cancelled)).rejects.toThrow('aborted');
    expect(existsSync(at(`/scratch/${allocationId}/file`))).toBe(true);
  });
});

describe('node.validate_clean', () => {
  it('a whole cycle ends clean, and leaves no trace of the allocation', async () => {
    const before = snapshot();
    await prepare();
    expect(await validate()).toMatchObject({ clean: false });
    startProcess(100);
    plant(`/scratch/${allocationId}/data`);
    await cleanup();
    await scrub('reset');
    await storage();
    const result = await validate();
    expect(result).toMatchObject({ clean: true, findings: [] });
    expect(Object.keys(result['proof'] ?? {})).toEqual([...allChecks]);
    expect(snapshot()).toEqual(before);
    expect(await validate()).toMatchObject({ clean: true });
  });

  const gpuFile = (more: object): void =>
    plant('/dev/gpu1.json', JSON.stringify({ slot: 1, pci_address: '0000:18:00.0', ...more }));

  it.each<[string, () => void, string]>([
    ['GPU process', () => gpuFile({ processes: [9] }), 'gpu_processes'],
    ['GPU memory', () => gpuFile({ memory_residue: true }), 'gpu_memory_residue'],
    [
      'container',
      () => plant('/containers/c.json', JSON.stringify({ allocation_id: allocationId })),
      'runtime_containers',
    ],
    ['mount', () => plant('/proc/mounts', `nas:/x /mnt/gpuaas/${allocationId}/v nfs rw 0 0\n`), 'mount'],
    ['file in the home', () => plant(`${home}/file`), 'path'],
    ['file in scratch', () => plant(`/scratch/${allocationId}/a/b`), 'path'],
    ['file in storage', () => plant(`/mnt/gpuaas/${allocationId}/a`), 'path'],
    ['empty folder', () => mkdirSync(at(`/scratch/${allocationId}`)), 'path'],
    ['dangling link', () => symlinkSync('/nowhere', at(`/scratch/${allocationId}`)), 'path'],
    ['data on a device', () => plant('/dev/nvme1n1', `${'\0'.repeat(2_000_000)}x`), 'block_device_data'],
    ['process', () => startProcess(300), 'process'],
    ['user', () => plant('/etc/passwd', `x:x:${tenant.uid}:1::/x:/bin/sh\n`), 'posix_user'],
  ])('finds a left %s, and tells nothing personal', async (_, leave, kind) => {
    await prepare();
    await cleanup();
    await scrub('reset');
    await storage();
    leave();
    const result = await validate();
    expect(result).toMatchObject({ clean: false, findings: [{ kind }] });
    expect(JSON.stringify(result)).not.toContain(tenant.username);
  });

  it('looks at nothing but what is asked', async () => {
    plant(`/scratch/${allocationId}/a`);
    expect(await validate({ checks: ['mounts'] })).toMatchObject({ clean: true });
  });

  it('without an allocation it looks at the areas of all tenants', async () => {
    plant('/proc/mounts', 'nas:/x /scratch/somebody/v nfs rw 0 0\n');
    const params = { checks: ['mounts' as const], reason: 'test' };
    expect(await run('node.validate_clean', params)).toMatchObject({ clean: false });
  });

  it('a device that is not there is a finding', async () => {
    const result = await validate({ checks: ['block_devices'], block_devices: ['/dev/nvme7n1'] });
    expect(result).toMatchObject({ clean: false, findings: [{ kind: 'device_missing' }] });
  });
});
