import { createHash } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isInUse } from '../../workers/node-agent/runtime/real/block-devices.ts';
import { run } from '../../workers/node-agent/runtime/real/exec.ts';
import { openRealNode } from '../../workers/node-agent/runtime/real/real.ts';
import { agentEnvironment, newTenant, startAgentProcess, type AgentProcess } from './agent-process.ts';
import { ControlPlane, until, type PlanTask } from './control-plane.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const ownRoot = fileURLToPath(new URL('own-root.sh', import.meta.url));
const isRoot = process.getuid?.() === 0;

/** What of the machine must be the same afterwards, to the byte. */
function hostState(): Record<string, string> {
  const files = ['passwd', 'group', 'shadow', 'gshadow', 'subuid', 'subgid'].map((name) => `/etc/${name}`);
  const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  const folders = ['/', '/home', '/mnt', '/var/lib'];
  return Object.fromEntries([
    ...files.map((file) => [file, hash(file)]),
    ...folders.map((folder) => [folder, readdirSync(folder).sort().join()]),
  ]);
}

describe.skipIf(!isRoot)('real mode, on a copy-on-write view of this machine', () => {
  const before = isRoot ? hostState() : {};
  const tenant = newTenant({ username: 'gputenant', gpu_slots: [] });
  const { allocation_id, username, uid } = tenant;
  const base = { allocation_id, reason: 'test' };
  const home = `/home/${username}`;
  const paths = [home, `/scratch/${allocation_id}`, `/mnt/gpuaas/${allocation_id}`];
  let plane: ControlPlane;
  let agent: AgentProcess;
  let init: string;
  let device: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    const folder = path.join(plane.directory, 'own');
    mkdirSync(folder);
    const image = path.join(plane.directory, 'disk.img');
    writeFileSync(image, Buffer.alloc(4 * 1024 * 1024, 7));
    device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    // What is to be wiped bears the mark of what it was.
    const mark = ['mkswap', device];
    execFileSync('sh', ['-c', mark.join(' ')], { stdio: 'ignore' });
    const env = {
      ...agentEnvironment(plane, ''),
      AGENT_MODE: 'real',
      AGENT_ALLOW_REAL: 'yes-change-this-host',
      AGENT_STATE_DIR: '/var/lib/gpuaas-node-agent',
      AGENT_GPU_COUNT: '0',
      AGENT_WIPEABLE_DEVICES: device,
    };
    const flags = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
    agent = startAgentProcess(env, ['unshare', ...flags, 'sh', ownRoot, folder, repository]);
    await until('the agent is up', () => plane.polls.length > 0);
    const { pid } = agent.child;
    init = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  });

  afterAll(async () => {
    await agent.end('SIGKILL');
    if (device !== undefined) spawnSync('losetup', ['--detach', device]);
    await plane.close();
  });

  /** Runs a shell command inside, as root or as the tenant. */
  function inside(command: string, asTenant = false): string {
    const who = asTenant ? ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'] : [];
    const args = ['-t', init, '-m', '-p', '-r', '-w', '--', ...who, 'sh', '-c', command];
    return execFileSync('nsenter', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  }
  const resultOf = async (task: PlanTask): Promise<unknown> => {
    await until(`task ${task.fence} done`, () => task.state === 'done');
    const report = task.reports.at(-1);
    return report?.outcome === 'succeeded' ? report.result : report;
  };
  const validate = () =>
    plane.queue('node.validate_clean', {
      ...base,
      checks: ['gpu_processes', 'runtime_containers', 'mounts', 'paths', 'block_devices'],
      paths,
    });

  const storage = (devices: string[]) =>
    plane.queue('node.storage_cleanup', {
      ...base,
      paths,
      delete_empty_dirs: true,
      wipe_block_devices: devices,
    });

  it('makes the user with the tools of the system; twice is once', async () => {
    for (let time = 0; time < 2; time += 1) {
      expect(await resultOf(plane.queue('node.allocation_prepare', tenant))).toMatchObject({ uid });
      expect(inside(`id -u ${username}; id -g ${username}; id -un ${uid}`)).toBe(
        `${uid}\n${uid}\n${username}`,
      );
      const files = `stat -c '%u:%g %a' ${home} ${home}/.ssh ${home}/.ssh/authorized_keys`;
      expect(inside(files)).toBe([700, 700, 600].map((mode) => `${uid}:${uid} ${mode}`).join('\n'));
      expect(inside(`cat ${home}/.ssh/authorized_keys`)).toBe(tenant.authorized_keys.join('\n'));
    }
  });

  it('is not led elsewhere by a tenant who lays links meanwhile', { timeout: 120_000 }, async () => {
    const victim = '/victim';
    inside(
      `mkdir ${victim} && echo precious | tee ${victim}/authorized_keys > ${victim}/authorized_keys.new`,
    );
    const look = () => inside(`cd ${victim} && stat -c '%n %u:%g %a %Y %i' . * && cat *`);
    const before = look();
    const swap = [
      'const fs = require("fs"); const attempt = (f) => { try { f(); } catch {} };',
      `process.chdir("${home}");`,
      'for (let n = 0; !fs.existsSync(".stop"); n += 1) {',
      'attempt(() => fs.renameSync(".ssh", ".kept" + n));',
      `attempt(() => fs.symlinkSync("${victim}", ".ssh"));`,
      'attempt(() => fs.unlinkSync(".ssh"));',
      'attempt(() => fs.renameSync(".kept" + n, ".ssh")); fs.writeFileSync(".swaps", String(n)); }',
    ];
    inside(`setsid ${process.execPath} -e '${swap.join(' ')}' >/dev/null 2>&1 &`, true);
    const swaps = (): number => Number(inside(`cat ${home}/.swaps 2>/dev/null || echo 0`));
    await until('the tenant has begun', () => swaps() > 10);
    const begun = swaps();
    for (let time = 0; time < 25; time += 1) {
      const keys = [`${tenant.authorized_keys[0]} ${time}`];
      await resultOf(plane.queue('node.allocation_prepare', { ...tenant, authorized_keys: keys }));
    }
    await until('the tenant has gone on', () => swaps() > begun);
    expect(look()).toBe(before);
    inside(`touch ${home}/.stop`);
    await until('the tenant has ended', () => inside(`ps -o stat= -u ${uid} | grep -v Z | wc -l`) === '0');
    inside(`cd ${home} && rm -rf .ssh .kept* && ln -s ${victim} .ssh`, true);
    expect(await resultOf(plane.queue('node.allocation_prepare', tenant))).toMatchObject({ uid });
    expect(inside(`stat -c '%F %u %a' ${home}/.ssh; cat ${home}/.ssh/authorized_keys`)).toBe(
      [`directory ${uid} 700`, ...tenant.authorized_keys].join('\n'),
    );
    expect(look()).toBe(before);
  });

  it('does not touch a user of the system', async () => {
    const strange = newTenant({ username: 'daemon', gpu_slots: [] });
    const passwd = inside('cat /etc/passwd');
    const error = { code: 'posix_identity_conflict', retryable: false };
    expect(await resultOf(plane.queue('node.allocation_prepare', strange))).toMatchObject({ error });
    const params = { ...base, allocation_id: strange.allocation_id, username: 'daemon', uid: strange.uid };
    expect(await resultOf(plane.queue('node.allocation_cleanup', params))).toMatchObject({ error });
    expect(inside('cat /etc/passwd')).toBe(passwd);
  });

  it('finds everything that a tenant has', async () => {
    inside(`mkdir -p ${paths.slice(1).join(' ')} && chown ${uid}:${uid} ${paths.slice(1).join(' ')}`);
    inside(
      `echo data | tee ${paths.map((folder) => `${folder}/file`).join(' ')} /tmp/left /dev/shm/left`,
      true,
    );
    inside(
      `mkdir ${paths[2]}/volume && mount -t tmpfs tmpfs ${paths[2]}/volume && touch ${paths[2]}/volume/kept`,
    );
    inside(
      `setsid sleep 1000 >/dev/null 2>&1 & setsid sh -c 'trap "" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &`,
      true,
    );
    expect(inside(`ps -o pid= -u ${uid} | wc -l`)).not.toBe('0');
    const found = await resultOf(validate());
    const kinds = ['mount', 'path', 'path', 'path', 'posix_user', 'process', 'block_device_data'];
    expect(found).toMatchObject({ clean: false, findings: kinds.map((kind) => ({ kind })) });
    expect(JSON.stringify(found)).not.toContain(username);
  });

  it('ends processes, one of them by force, and removes the user', { timeout: 120_000 }, async () => {
    const result = await resultOf(plane.queue('node.allocation_cleanup', { ...base, username, uid }));
    expect(result).toMatchObject({ user_removed: true });
    expect(result).toHaveProperty(
      'processes_ended',
      expect.toSatisfy((count: number) => count >= 2),
    );
    expect(
      inside(
        `ps -o stat= -u ${uid} | grep -v Z | wc -l; getent passwd ${username} | wc -l; getent group ${username} | wc -l`,
      ),
    ).toBe('0\n0\n0');
    expect(inside(`ls -d ${home} /tmp/left /dev/shm/left 2>/dev/null | wc -l`)).toBe('0');
    const again = await resultOf(plane.queue('node.allocation_cleanup', { ...base, username, uid }));
    expect(again).toMatchObject({ user_removed: true, processes_ended: 0 });
  });

  it('wipes no device that somebody holds, in whatever namespace', async () => {
    const holder = openSync(device, constants.O_RDONLY | constants.O_EXCL);
    try {
      expect(await resultOf(storage([device]))).toMatchObject({
        error: { code: 'device_busy', retryable: true },
      });
      const piece = Buffer.alloc(4096);
      readSync(holder, piece, 0, piece.length, 1024 * 1024);
      expect(piece.every((byte) => byte === 7)).toBe(true);
    } finally {
      closeSync(holder);
    }
  });

  it('scrubs, empties storage, wipes the listed device only, and is proven clean', async () => {
    const scrub = plane.queue('node.gpu_scrub', { ...base, mode: 'reset', container_runtime: 'docker' });
    expect(await resultOf(scrub)).toMatchObject({ scrubbed: true, findings: [{ kind: 'no_gpus' }] });
    expect(await resultOf(storage(['/dev/zero']))).toMatchObject({ error: { code: 'device_refused' } });
    expect(await resultOf(storage([device]))).toMatchObject({
      cleaned: true,
      proof: { block_devices_wiped: 1 },
    });
    expect(await resultOf(validate())).toMatchObject({ clean: true, findings: [] });
  });

  it('has left the machine itself as it was', () => {
    expect(hostState()).toEqual(before);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(plane.directory);
    const ownedByTenant = ['/tmp', '/dev/shm'].flatMap((folder) =>
      readdirSync(folder).filter(
        (name) => lstatSync(`${folder}/${name}`, { throwIfNoEntry: false })?.uid === uid,
      ),
    );
    expect(ownedByTenant).toEqual([]);
  });
});

describe.skipIf(!isRoot)('GPUs of a real node', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gpuaas-smi-'));
  const searchPath = process.env['PATH'];

  afterEach(() => {
    process.env['PATH'] = searchPath;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const node = () => openRealNode({ gpuCount: 2, wipeableDevices: [] });

  /** A tool that answers in the words of nvidia-smi: two devices, the second with a process and memory in use. */
  function installTool(): void {
    const script = `#!/bin/sh
case "$*" in
  *--query-gpu=index,pci.bus_id*) printf '0, 00000000:17:00.0\\n1, 00000000:CA:00.0\\n' ;;
  *--query-gpu=pci.bus_id,memory.used*) printf '00000000:17:00.0, 4\\n00000000:CA:00.0, 40960\\n' ;;
  *--query-compute-apps*) printf '00000000:CA:00.0, 4242\\n' ;;
  *--gpu-reset*,*) exit 3 ;;
  *--gpu-reset*0000:17:00.0) exit 0 ;;
  *) exit 3 ;;
esac
`;
    writeFileSync(path.join(folder, 'nvidia-smi'), script);
    chmodSync(path.join(folder, 'nvidia-smi'), 0o755);
    process.env['PATH'] = `${folder}:${searchPath}`;
  }

  it('cannot be reached without their tool, and that is for good', async () => {
    await expect(node().gpus.list()).rejects.toMatchObject({ code: 'gpu_tool_missing', retryable: false });
  });

  it('are listed, looked at and reset by their PCI address', async () => {
    installTool();
    const { gpus } = node();
    const [idle, busy] = await gpus.list();
    if (idle === undefined || busy === undefined) throw new Error('two devices');
    expect([idle, busy]).toEqual([
      { slot: 0, pciAddress: '0000:17:00.0' },
      { slot: 1, pciAddress: '0000:ca:00.0' },
    ]);
    expect(await gpus.inspect([idle])).toEqual([{ processes: 0, residueBytes: 0 }]);
    expect(await gpus.inspect([idle, busy])).toMatchObject([
      {},
      { processes: 1, residueBytes: 40_960 * 1024 * 1024 },
    ]);
    await gpus.reset([idle]);
    await expect(gpus.reset([idle, busy])).rejects.toMatchObject({ code: 'gpu_busy', retryable: true });
  });
});

describe('a device is in use', () => {
  let folder: string;
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Disks and partitions as the kernel tells them: path below the bus, number, holders. */
  const devices: [string, string, string[]][] = [
    ['sda', '8:0', []],
    ['sda/sda1', '8:1', []],
    ['sda/sda10', '8:10', []],
    ['sdaa', '65:160', []],
    ['sdaa/sdaa1', '65:161', []],
    ['sdb', '8:16', []],
    ['sdb/sdb1', '8:17', ['dm-0']],
    ['sdb/sdb2', '8:18', []],
    ['sdc', '8:32', ['md0']],
    ['nvme0n1', '259:0', []],
    ['nvme0n1/nvme0n1p1', '259:1', []],
    ['nvme0n10', '259:10', []],
    ['nvme0n10/nvme0n10p1', '259:11', []],
    ['cciss!c0d0', '104:0', []],
  ];
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gpuaas-sys-'));
    mkdirSync(path.join(folder, 'dev/block'), { recursive: true });
    for (const [at, number, holders] of devices) {
      const own = path.join(folder, 'devices', at);
      for (const inner of ['queue', 'holders', ...holders.map((name) => `holders/${name}`)])
        mkdirSync(path.join(own, inner), { recursive: true });
      writeFileSync(path.join(own, 'dev'), `${number}\n`);
      if (at.includes('/')) writeFileSync(path.join(own, 'partition'), '1\n');
      symlinkSync(`../../devices/${at}`, path.join(folder, 'dev/block', number));
    }
  });

  const mount = (number: string, source: string) =>
    `36 1 ${number} / /data rw,noatime shared:1 - fs ${source} rw`;

  it.each([
    ['nothing is mounted', '8:0', '', false],
    ['sdaa is mounted, sda asked', '8:0', mount('65:160', '/dev/sdaa'), false],
    ['sdaa1 is mounted, sda asked', '8:0', mount('65:161', '/dev/sdaa1'), false],
    ['sda10 is mounted, sda1 asked', '8:1', mount('8:10', '/dev/sda10'), false],
    ['sda10 is mounted, sda asked', '8:0', mount('8:10', '/dev/sda10'), true],
    ['sda is mounted', '8:0', mount('8:0', '/dev/disk/by-label/data'), true],
    ['sda is mounted whole, sda1 asked', '8:1', mount('8:0', '/dev/sda'), true],
    ['a partition of sdb is a volume of LVM', '8:16', mount('254:0', '/dev/mapper/vg-lv'), true],
    ['that partition itself is asked', '8:17', '', true],
    ['its sibling is asked', '8:18', '', false],
    ['sdc is part of an array', '8:32', '', true],
    ['nvme0n1p1 is mounted', '259:0', mount('259:1', '/dev/nvme0n1p1'), true],
    ['nvme0n1p1 is mounted by a number of its own', '259:0', mount('0:45', '/dev/nvme0n1p1'), true],
    ['nvme0n10p1 is mounted, nvme0n1 asked', '259:0', mount('259:11', '/dev/nvme0n10p1'), false],
    ['a name with a slash', '104:0', mount('0:46', '/dev/cciss/c0d0'), true],
    ['the kernel does not know it', '7:77', '', true],
  ])('%s', async (_, number, mounts, inUse) => {
    const mountinfo = path.join(folder, 'mountinfo');
    writeFileSync(mountinfo, `25 1 0:22 / /sys rw - sysfs sysfs rw\n${mounts}\n`);
    expect(await isInUse(number, { sys: folder, mountinfo })).toBe(inUse);
  });
});

describe('a program of the system', () => {
  it('that may take as long as it needs ends with its task', async () => {
    const task = new AbortController();
    const running = run('sleep', ['600'], task.signal);
    task.abort(new Error('superseded'));
    await expect(running).rejects.toThrow('superseded');
    await expect(run('sleep', ['600'], task.signal)).rejects.toThrow('superseded');
    expect(await run('echo', ['done'], new AbortController().signal)).toEqual({ code: 0, stdout: 'done\n' });
  });
});
