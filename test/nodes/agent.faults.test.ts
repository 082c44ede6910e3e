import { agentEnvironment } from './agent-process.ts';
import path from 'node:path';
import { createPublicKey, randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { readAgentConfig } from '../../workers/node-agent/config.ts';
import { Journal } from '../../workers/node-agent/journal.ts';
import { startAgents } from '../../workers/local/fleet/fleet.ts';
import { until, type PlanTask } from './control-plane.ts';
import { plane, root, startAgent, prepare, done, outcomeOf, setFault } from './protocol-setup.ts';

describe('faults on demand', () => {
  const until2 = (task: PlanTask, reports: number): Promise<void> =>
    until(`${reports} reports`, () => task.reports.length >= reports);

  it.each([
    ['fail', true],
    ['fail_permanent', false],
  ] as const)('%s', async (behaviour, retryable) => {
    await startAgent();
    setFault('node.allocation_prepare', behaviour);
    const task = prepare();
    await done(task);
    expect(task.reports[0]).toMatchObject({
      outcome: 'failed',
      error: { code: 'fault_injected', retryable },
    });
    expect(JSON.parse(readFileSync(path.join(root, 'faults.json'), 'utf8'))).toMatchObject([{ times: 0 }]);
    const next = prepare();
    await done(next);
    expect(outcomeOf(next)).toBe('succeeded');
  });

  it('answer_twice', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'answer_twice');
    const task = prepare();
    await until2(task, 2);
    expect(task.statuses).toEqual([200, 200]);
  });

  it('answer_late', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'answer_late', { delay_ms: 300 });
    const begin = performance.now();
    const task = prepare();
    await done(task);
    expect(performance.now() - begin).toBeGreaterThan(290);
  });

  it.each([
    ['wrong_fence', 409],
    ['rubbish', 400],
  ] as const)('%s is refused, then the right answer goes out', async (behaviour, status) => {
    await startAgent();
    setFault('node.allocation_prepare', behaviour);
    const task = prepare();
    await done(task);
    expect(task.statuses).toEqual([status, 200]);
  });

  it('dirty: the node is found dirty once', async () => {
    await startAgent();
    await until('up', () => existsSync(path.join(root, 'dev/gpu1.json')));
    setFault('node.validate_clean', 'dirty');
    const params = { allocation_id: randomUUID(), checks: ['paths' as const], reason: 'test' };
    const first = plane.queue('node.validate_clean', params);
    await done(first);
    const second = plane.queue('node.validate_clean', params);
    await done(second);
    expect(first.reports[0]).toMatchObject({
      result: { clean: false, findings: [{ kind: 'path', where: 'scratch' }] },
    });
    expect(second.reports[0]).toMatchObject({ result: { clean: true } });
  });

  it('never: the task is neither named nor answered', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'never');
    const task = prepare();
    await until('offered again', () => task.offers >= 3);
    const other = prepare();
    await done(other);
    expect(task.reports).toEqual([]);
    expect(plane.polls.some((poll) => poll.running.includes(task.id))).toBe(false);
  });
});

describe('settings', () => {
  it('real mode needs consent', () => {
    const env = { ...agentEnvironment(plane, root), AGENT_MODE: 'real' };
    expect(() => readAgentConfig(env)).toThrow('AGENT_ALLOW_REAL');
    expect(readAgentConfig({ ...env, AGENT_ALLOW_REAL: 'yes-change-this-host' }).mode).toBe('real');
  });

  it.each([
    ['AGENT_NODE_ID', 'x'],
    ['AGENT_MODE', 'half'],
    ['AGENT_GPU_COUNT', '-1'],
    ['AGENT_HOLD_SECONDS', '31'],
    ['AGENT_API_URL', ''],
    ['AGENT_ROOT', ''],
  ])('%s=%s is refused by name', (name, value) => {
    expect(() => readAgentConfig({ ...agentEnvironment(plane, root), [name]: value })).toThrow(name);
  });

  it('plain http is refused', async () => {
    await expect(startAgent({ AGENT_API_URL: 'http://127.0.0.1:1' })).rejects.toThrow('https');
  });
});

describe('a fleet', () => {
  it('is many agents of one process; a node of another secret only fails itself', async () => {
    const fleet = await startAgents({
      nodes: [
        { nodeId: plane.nodeId, secret: plane.secret },
        ...Array.from({ length: 9 }, () => ({ nodeId: randomUUID(), secret: 'wrong' })),
      ],
      apiUrl: plane.url,
      caFile: plane.pki.INTERNAL_TLS_CA_FILE,
      verifyKeyFile: plane.pki.TASK_VERIFY_KEY_FILE,
      rootDirectory: path.join(plane.directory, 'fleet'),
      gpuCount: 2,
    });
    try {
      expect(createPublicKey(readFileSync(plane.pki.TASK_VERIFY_KEY_FILE)).asymmetricKeyType).toBe('ed25519');
      await done(prepare());
      await until('refused', () => fleet.agents.slice(1).every((agent) => agent.counters.pollErrors > 0));
      expect(existsSync(path.join(fleet.rootOf(plane.nodeId), 'dev/gpu1.json'))).toBe(true);
    } finally {
      await fleet.stop();
    }
  });
});

describe.skipIf(process.getuid?.() !== 0)('the journal on a file system that was full', () => {
  /** Reports are larger than what is left of a page: a write that fails leaves a piece. */
  const task = (id: string) => ({
    task_id: id,
    allocation_id: null,
    correlation_id: 'test',
    traceparent: null,
    report: { fence: 1, outcome: 'succeeded' as const, result: { text: 'x'.repeat(3000) } },
  });

  it('loses nothing that it has acknowledged, and remembers nothing that it has not', async () => {
    const mountPoint = mkdtempSync(path.join(tmpdir(), 'gpuaas-full-'));
    const script = 'mount -t tmpfs -o size=64k tmpfs "$0" && echo mounted && exec cat';
    const flags = ['--mount', '--propagation', 'private'];
    const [program, ...args] = ['unshare', ...flags, 'sh', '-c', script, mountPoint];
    const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await once(holder.stdout, 'data');
      const folder = `/proc/${holder.pid}/root${mountPoint}`;
      const journal = await Journal.open(folder);
      const allocationId = randomUUID();
      await journal.finish(task('before'));
      writeFileSync(path.join(folder, 'ballast'), Buffer.alloc(52 * 1024));
      const refused: string[] = [];
      for (let n = 0; n < 8; n += 1) {
        const ended = journal.finish(task(`full-${n}`)).then(
          () => undefined,
          () => refused.push(`full-${n}`),
        );
        await ended;
      }
      expect(refused.length).toBeGreaterThan(3);
      await expect(journal.accept(allocationId, 3)).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(journal.fenceOf(allocationId)).toBe(0);
      const mine = readdirSync('/proc/self/fd').filter((fd) => linkOf(fd)?.includes(mountPoint) === true);
      expect(mine).toHaveLength(1);
      rmSync(path.join(folder, 'ballast'));
      await journal.finish(task('after'));
      await journal.accept(allocationId, 3);
      // As after a crash: another reads what is there.
      const next = await Journal.open(folder);
      const known = ['before', 'after', ...refused].filter((id) => next.find(id) !== undefined);
      expect(known).toEqual(['before', 'after']);
      expect(next.fenceOf(allocationId)).toBe(3);
      await Promise.all([journal.close(), next.close()]);
    } finally {
      const exited = once(holder, 'exit');
      holder.stdin.end();
      await exited;
      rmSync(mountPoint, { recursive: true });
    }
  });
});

/** What an open file is; a number may be closed meanwhile. */
function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
