import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type NodeTask } from '../../contracts/nodes/node-task.api.ts';
import type { NodeRuntime } from '../../workers/node-agent/runtime/runtime.ts';
import { openSimulatedNode } from '../../workers/node-agent/runtime/simulated/simulated.ts';
import { executeTask } from '../../workers/node-agent/tasks/index.ts';
import { newTenant, publicKey } from './agent-process.ts';
import {
  changeTenant,
  useNode,
  root,
  runtime,
  records,
  tenant,
  allocationId,
  home,
  at,
  run,
  failureOf,
  prepare,
  cleanup,
  scrub,
  plant,
  startProcess,
  snapshot,
} from './tasks-setup.ts';

/** The node, with a tenant who at the nth step of a task puts a link to another folder in the place of `.ssh`. */
function withSwapAt(step: number, victim: string): NodeRuntime {
  const node = runtime;
  const ssh = at(`${home}/.ssh`);
  let steps = 0;
  const count = (): void => {
    if (steps === step && existsSync(ssh)) {
      renameSync(ssh, `${ssh}.kept`);
      symlinkSync(at(victim), ssh);
    }
    steps += 1;
  };
  return {
    ...node,
    hostPath(nodePath) {
      count();
      return node.hostPath(nodePath);
    },
    giveTo(...args) {
      count();
      return node.giveTo(...args);
    },
  };
}

describe('node.allocation_prepare', () => {
  it('makes group, user, home and exactly the given keys; twice is once', async () => {
    changeTenant({ authorized_keys: [`${publicKey} one`, publicKey] });
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
    changeTenant({ authorized_keys: [] });
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

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'touches nothing through a link that a tenant lays meanwhile, at step %i',
    async (step) => {
      const node = runtime;
      for (const name of ['authorized_keys', 'authorized_keys.new']) plant(`/etc/victim/${name}`, 'precious');
      await prepare();
      const before = snapshot(at('/etc'));
      changeTenant({ authorized_keys: [`${publicKey} second`] });
      useNode(withSwapAt(step, '/etc/victim'));
      await prepare();
      expect(snapshot(at('/etc'))).toEqual(before);
      useNode(node);
      await prepare();
      expect(snapshot(at('/etc'))).toEqual(before);
      expect(lstatSync(at(`${home}/.ssh`)).isDirectory()).toBe(true);
      expect(readFileSync(at(`${home}/.ssh/authorized_keys`), 'utf8')).toBe(`${publicKey} second\n`);
    },
  );

  it('gives no folder of another to the tenant, and takes nothing away from one', async () => {
    await prepare();
    plant(`${home}/.ssh.kept/file`, 'precious');
    rmSync(at(`${home}/.ssh`), { recursive: true });
    renameSync(at(`${home}/.ssh.kept`), at(`${home}/.ssh`));
    const { uid } = lstatSync(at(`${home}/.ssh`));
    await prepare();
    const aside = readdirSync(at(home)).find((name) => name.startsWith('.ssh.'));
    if (process.getuid?.() === 0) {
      expect(lstatSync(at(`${home}/${aside}`)).uid).toBe(uid);
      expect(readFileSync(at(`${home}/${aside}/file`), 'utf8')).toBe('precious');
    }
    expect(readFileSync(at(`${home}/.ssh/authorized_keys`), 'utf8')).toBe(`${publicKey}\n`);
  });

  it('puts the keys where a tenant has laid a pipe or a folder', async () => {
    await prepare();
    const keys = at(`${home}/.ssh/authorized_keys`);
    rmSync(keys);
    const lay = ['mkfifo', keys];
    execFileSync('sh', ['-c', lay.join(' ')]);
    await prepare();
    expect(readFileSync(keys, 'utf8')).toBe(`${publicKey}\n`);
    rmSync(keys);
    plant(`${home}/.ssh/authorized_keys/file`);
    await prepare();
    expect(readFileSync(keys, 'utf8')).toBe(`${publicKey}\n`);
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
      changeTenant({ authorized_keys: [key] });
      expect(await failureOf(prepare())).toEqual({ code: 'authorized_key_invalid', retryable: false });
    },
  );

  it('refuses a GPU slot that the node does not have', async () => {
    changeTenant({ gpu_slots: [0, 2] });
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

  it.each([0, 1, 2, 3])(
    'takes keys away from nobody else, whatever link is laid at step %i',
    async (step) => {
      plant('/etc/victim/authorized_keys', 'precious');
      await prepare();
      useNode(withSwapAt(step, '/etc/victim'));
      expect(await cleanup()).toMatchObject({ user_removed: true });
      expect(readFileSync(at('/etc/victim/authorized_keys'), 'utf8')).toBe('precious');
      expect(existsSync(at(home))).toBe(false);
    },
  );

  it('has nothing to do on a node where nothing is left', async () => {
    expect(await cleanup()).toMatchObject({
      processes_ended: 0,
      user_removed: true,
      allocation_id: allocationId,
    });
  });

  it('fails, to be tried again, when a process does not end', { timeout: 120_000 }, async () => {
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
    const mine = await open(at('/tmp/mine'));
    await runtime.giveTo(mine, tenant.uid, tenant.gid);
    await mine.close();
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
    changeTenant({ gpu_slots: [1] });
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
    useNode(openSimulatedNode({ root: bare, gpuCount: 0 }));
    expect(await scrub('reset')).toMatchObject({ scrubbed: true, findings: [{ kind: 'no_gpus' }] });
  });
});
