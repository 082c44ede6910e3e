import path from 'node:path';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { newTenant, publicKey } from './agent-process.ts';
import { until, type PlanTask } from './control-plane.ts';
import {
  plane,
  root,
  log,
  startAgent,
  startProcess,
  prepare,
  done,
  outcomeOf,
  allocationOf,
  users,
  setFault,
} from './protocol-setup.ts';

describe('signature and form', () => {
  it('executes what is signed and nothing else, and lives on', async () => {
    const agent = await startAgent();
    const stranger = generateKeyPairSync('ed25519').privateKey;
    const forged = prepare({ username: 'forged' }, { key: stranger });
    const foreign = prepare({ username: 'foreign' }, { nodeId: randomUUID() });
    const good = prepare({ username: 'good' });
    const tampered = plane.queueSigned({
      payload: good.raw.payload.replace('good', 'evil').replace(good.id, randomUUID()),
      signature: good.raw.signature,
    });
    const text = plane.queueRaw('{"kind":"node.allocation_prepare"');
    const strange = plane.queueRaw(
      JSON.stringify({ ...good.task, task_id: randomUUID(), kind: 'node.format_host' }),
    );
    const short = plane.queueSigned({
      payload: good.raw.payload.replace(good.id, randomUUID()),
      signature: 'AAAA',
    });
    await done(good);
    await until('all looked at', () => agent.counters.rubbish >= 6);
    for (const task of [forged, foreign, tampered, text, strange, short]) {
      expect(task.offers).toBeGreaterThan(0);
      expect(task.reports).toEqual([]);
    }
    expect(users()).toContain('good:');
    expect(users()).not.toMatch(/evil|forged|foreign/);
  });

  it('does not ask in a hot loop when all it is offered is rubbish', async () => {
    const agent = await startAgent();
    plane.queueRaw('rubbish');
    await until('several offers', () => agent.counters.rubbish >= 4);
    const begin = performance.now();
    const before = plane.polls.length;
    await until('two more offers', () => plane.polls.length >= before + 2);
    expect(performance.now() - begin).toBeGreaterThan(100);
  });

  it('logs neither keys, names nor secrets', async () => {
    await startAgent();
    const task = prepare({ username: 'very-private' });
    await done(task);
    const conflict = prepare({ username: 'very-private', uid: 19_999, gid: 19_999 });
    await done(conflict);
    const text = log.join('\n');
    expect(text).toContain(task.id);
    expect(text).toContain('"correlation_id":"test-1"');
    for (const secret of ['very-private', publicKey, plane.secret]) expect(text).not.toContain(secret);
  });
});

describe('expiry', () => {
  it('counts from the time of the plane, whatever the clock of the node says', async () => {
    const agent = await startAgent();
    plane.clockSkewMs = -10 * 365 * 86_400_000;
    const old = prepare();
    await done(old);
    plane.clockSkewMs = 10 * 365 * 86_400_000;
    const young = prepare();
    await done(young);
    const late = prepare({}, { expiresInMs: -1 });
    await until('refused', () => agent.counters.expired > 0);
    expect([outcomeOf(old), outcomeOf(young), late.reports.length]).toEqual(['succeeded', 'succeeded', 0]);
  });

  it('refuses a task that ran out while it waited for its lane', async () => {
    const agent = await startAgent();
    setFault('node.gpu_scrub', 'hang', { delay_ms: 400 });
    const params = { mode: 'verify_only', reason: 'test' } as const;
    const first = plane.queue('node.gpu_scrub', params);
    await until('offered', () => first.offers > 0);
    const second = plane.queue('node.gpu_scrub', params, { expiresInMs: 100 });
    await done(first);
    await until('refused', () => agent.counters.expired > 0);
    expect(second.reports).toEqual([]);
  });
});

describe('fence', () => {
  it('refuses a fence lower than one seen, also after a restart', async () => {
    const agent = await startAgent();
    const high = prepare({}, { fence: 7 });
    await done(high);
    const stale = (): PlanTask =>
      plane.queue(
        'node.gpu_scrub',
        { allocation_id: allocationOf(high), mode: 'reset', reason: 't' },
        { fence: 6 },
      );
    const before = stale();
    await until('refused', () => agent.counters.fenced > 0);
    before.state = 'withheld';
    await agent.stop();
    const again = await startAgent();
    const after = stale();
    await until('refused again', () => again.counters.fenced > 0);
    expect([before.reports, after.reports]).toEqual([[], []]);
  });

  it('a higher one stops the running lower one of the allocation, waits, and then starts', async () => {
    const agent = await startAgent();
    setFault('node.allocation_prepare', 'hang');
    const tenant = newTenant();
    const low = plane.queue('node.allocation_prepare', tenant);
    await until('runs', () => plane.polls.some((poll) => poll.running.includes(low.id)));
    const { allocation_id, username, uid } = tenant;
    const high = plane.queue('node.allocation_cleanup', { allocation_id, username, uid, reason: 'test' });
    low.state = 'superseded';
    await done(high);
    expect(agent.counters.superseded).toBe(1);
    expect([low.reports.length, outcomeOf(high)]).toEqual([0, 'succeeded']);
  });

  it('different allocations run side by side', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'hang');
    const stuck = prepare();
    await until('runs', () => plane.polls.some((poll) => poll.running.includes(stuck.id)));
    const quick = prepare();
    await done(quick);
    expect(stuck.state).toBe('open');
    plane.cancel(stuck);
    await done(stuck);
    expect(outcomeOf(stuck)).toBe('cancelled');
  });
});

describe('the poll', () => {
  it('names what runs with a short hold, one call at a time, over kept connections', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'hang');
    const stuck = prepare();
    const naming = () => plane.polls.filter((poll) => poll.running.includes(stuck.id));
    await until('two heartbeats', () => naming().length >= 2);
    expect(naming().every((poll) => poll.holdSeconds <= 2)).toBe(true);
    for (let index = 0; index < 20; index += 1) await done(prepare());
    plane.cancel(stuck);
    await done(stuck);
    await until('at rest', () => plane.polls.at(-1)?.running.length === 0);
    expect(plane.polls.at(-1)?.holdSeconds).toBe(25);
    expect(plane.mostPollsInFlight).toBe(1);
    expect(plane.connections).toBeLessThan(6);
  });

  it('is back as soon as the API is', async () => {
    const agent = await startAgent();
    await until('polls', () => plane.pollsInFlight === 1);
    await plane.shut();
    await until('noticed', () => agent.counters.pollErrors >= 3);
    await plane.listen();
    const begin = performance.now();
    const task = prepare();
    await done(task);
    expect(performance.now() - begin).toBeLessThan(4000);
  });

  it('survives answers that are none', async () => {
    const agent = await startAgent({ AGENT_HOLD_SECONDS: '1' });
    plane.outage = 502;
    await until('noticed', () => agent.counters.pollErrors >= 2);
    plane.outage = undefined;
    await done(prepare());
  });
});

describe('the result', () => {
  it('is sent again from the journal when the task is offered again, the work is not redone', async () => {
    const agent = await startAgent();
    const task = prepare();
    await done(task);
    const home = path.join(
      root,
      'home',
      task.task?.kind === 'node.allocation_prepare' ? task.task.params.username : '',
    );
    writeFileSync(path.join(home, '.ssh/authorized_keys'), 'changed by the tenant\n');
    plane.reopen(task);
    await until('reported again', () => task.reports.length === 2);
    expect(task.reports[1]).toEqual(task.reports[0]);
    expect([agent.counters.executed, agent.counters.replayed]).toEqual([1, 1]);
    expect(readFileSync(path.join(home, '.ssh/authorized_keys'), 'utf8')).toBe('changed by the tenant\n');
  });

  it('is dropped when the plane does not know the task or has fenced it off', async () => {
    const agent = await startAgent();
    plane.deafToReports = true;
    const fenced = prepare();
    const unknown = prepare();
    await until('both tried', () => agent.counters.executed === 2 && agent.counters.postErrors >= 2);
    fenced.state = 'superseded';
    plane.tasks.delete(unknown.id);
    plane.deafToReports = false;
    await until('both dropped', () => agent.counters.reportsDropped === 2);
    await until('nothing named', () => plane.polls.at(-1)?.running.length === 0);
    expect(fenced.statuses.at(-1)).toBe(409);
  });

  it('tells the age of the stop as it is when the report arrives', async () => {
    const agent = await startAgent();
    const tenant = newTenant();
    await done(plane.queue('node.allocation_prepare', tenant));
    plane.deafToReports = true;
    const { allocation_id, username, uid } = tenant;
    const task = plane.queue('node.allocation_cleanup', { allocation_id, username, uid, reason: 'test' });
    await until('executed', () => agent.counters.executed === 2);
    const begin = performance.now();
    await until('tried often', () => agent.counters.postErrors >= 6);
    const waitedSeconds = (performance.now() - begin) / 1000;
    plane.deafToReports = false;
    await done(task);
    const report = task.reports.at(-1);
    const age = report?.outcome === 'succeeded' ? report.result['stopped_age_seconds'] : undefined;
    expect(age).toBeGreaterThanOrEqual(waitedSeconds);
    expect(age).toBeLessThan(30);
  });
});

describe('cancel', () => {
  it('stops the task, undoes the user, and reports it', async () => {
    await startAgent();
    setFault('node.allocation_prepare', 'hang');
    const task = prepare({ username: 'undone' });
    await until('runs', () => plane.polls.some((poll) => poll.running.includes(task.id)));
    plane.cancel(task);
    await done(task);
    expect(task.reports).toEqual([{ fence: task.fence, outcome: 'cancelled' }]);
    expect(users()).not.toContain('undone');
  });
});

describe('a real process', () => {
  it('killed between work and report, it reports after the restart', async () => {
    const first = startProcess();
    plane.deafToReports = true;
    const task = prepare();
    await until('journaled', () => first.lines.some((line) => line.includes('report_failed')));
    expect((await first.end('SIGKILL')).signal).toBe('SIGKILL');
    plane.deafToReports = false;
    const second = startProcess();
    await done(task);
    expect(task.statuses).toEqual([200]);
    expect(second.lines.some((line) => line.includes('task_started'))).toBe(false);
  });

  it('killed while a task runs, it does the task when it is offered again', async () => {
    const first = startProcess();
    await until('up', () => plane.polls.length > 0);
    setFault('node.allocation_prepare', 'hang');
    const task = prepare({ username: 'patient' });
    await until('runs', () => plane.polls.some((poll) => poll.running.includes(task.id)));
    await first.end('SIGKILL');
    startProcess();
    await done(task);
    expect([outcomeOf(task), task.statuses]).toEqual(['succeeded', [200]]);
    expect(users().match(/^patient:/gm)).toHaveLength(1);
  });

  it('killed again and again under load, it reports every task exactly as it should', async () => {
    let agent = startProcess();
    const tasks = Array.from({ length: 120 }, () => prepare());
    for (let kills = 1; kills <= 3; kills += 1) {
      const target = kills * 25;
      await until(`${target} done`, () => tasks.filter((task) => task.state === 'done').length >= target);
      await agent.end('SIGKILL');
      agent = startProcess();
    }
    await until('all done', () => tasks.every((task) => task.state === 'done'));
    expect(tasks.every((task) => task.reports.every((report) => report?.outcome === 'succeeded'))).toBe(true);
    const lines = users().trim().split('\n');
    expect(new Set(lines).size).toBe(lines.length);
    expect(lines).toHaveLength(121);
  });

  it('ends with 0 on SIGTERM within five seconds, even when a task hangs and the API is away', async () => {
    const agent = startProcess();
    await until('up', () => plane.polls.length > 0);
    setFault('node.allocation_prepare', 'hang');
    const task = prepare();
    await until('runs', () => plane.polls.some((poll) => poll.running.includes(task.id)));
    await plane.shut();
    const begin = performance.now();
    expect(await agent.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  it('is alone on its state folder', async () => {
    startProcess();
    await until('up', () => plane.polls.length > 0);
    const second = startProcess();
    await until('refused', () => second.child.exitCode !== null);
    expect(second.child.exitCode).toBe(1);
    expect(second.lines.join()).toContain('another agent');
  });
});
