import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  tenant,
  allocationId,
  allChecks,
  home,
  tenantPaths,
  at,
  run,
  failureOf,
  prepare,
  cleanup,
  scrub,
  storage,
  validate,
  plant,
  startProcess,
  snapshot,
} from './tasks-setup.ts';

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
