/**
 * The fault matrix of the replay: every activity × every way in which it can go wrong, each through a whole life over
 * letters of its own, then one audit over everything. The workers are processes of their own; a crash is their SIGKILL.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dlqReplayEvents } from '../../contracts/ops/dlq-replay.lifecycle.ts';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { assertStruck, startCells, type Cell as TableCell } from '../harness/cells.ts';
import { crashBefore, faultKinds, isDeath, type FaultKind, type FaultTarget } from '../harness/faults.ts';
import { startLab, type Lab } from '../harness/lab.ts';
import { lives, type LifeName } from './lives.ts';
import { assertReplays, type ReplayExpectation } from './replay-audit.ts';

interface Cell extends TableCell {
  readonly life: LifeName;
  readonly target: FaultTarget;
  readonly fault: FaultKind;
}

/** The lives in which each activity is called; the keys are compared with the registry. */
const callers: Readonly<Record<string, readonly (FaultTarget & { readonly life: LifeName })[]>> = {
  openDlqReplay: [{ activity: 'openDlqReplay', life: 'plain' }],
  resumeDlqReplay: [{ activity: 'resumeDlqReplay', life: 'resumed' }],
  selectDlqPage: [{ activity: 'selectDlqPage', life: 'plain' }],
  transitionDlqReplay: [
    { activity: 'transitionDlqReplay', label: 'finished', life: 'plain' },
    { activity: 'transitionDlqReplay', label: 'cancel_requested', life: 'cancelled' },
  ],
  refuseDlqCancel: [{ activity: 'refuseDlqCancel', life: 'refused' }],
  publishDlqPage: [{ activity: 'publishDlqPage', life: 'plain' }],
};

function enumerate(): Cell[] {
  const cells = Object.values(callers)
    .flat()
    .flatMap(({ life, ...target }) => faultKinds.map((fault) => ({ life, target, fault })));
  // A worker killed in each state: the one that is live is the one with a page under way.
  cells.push({ life: 'plain', target: { activity: 'publishDlqPage' }, fault: crashBefore });
  return cells.map((cell, index) => {
    const { target, fault } = cell;
    const what = [target.activity, target.label].filter((part) => part !== undefined).join(' ');
    const name = `${what}: ${fault.name}`;
    return { ...cell, name, sku: `trial.cell_${index}`, deadly: isDeath(fault) };
  });
}

const cells = enumerate();
/** Replicas of the worker: while one is dead the other goes on. */
const workerProcesses = 2;
let lab: Lab;
let running: ReadonlyMap<string, Promise<ReplayExpectation>>;
const done = new Map<string, ReplayExpectation>();
const struck = new Set<string>();

beforeAll(async () => {
  lab = await startLab({ nodes: [], workerProcesses });
  running = startCells(lab, cells, live);
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

async function live({ name, life, sku: subject, target, fault }: Cell): Promise<ReplayExpectation> {
  const { expectation, rule } = await lives[life](lab, subject, { target, fault });
  if (rule === undefined) throw new Error('no fault was ordered');
  await assertStruck(rule);
  struck.add(name);
  // An attempt that comes too late may be told so; every other one finds what was done before it.
  if (rule.failures().length > 0 && fault.name !== 'time-out') throw new Error(rule.failures().join('\n'));
  return expectation;
}

describe('the matrix of the replay', () => {
  it('has a caller for every activity of the registry, and for every event', () => {
    const activities = lifecycles.find((one) => one.stem === 'dlq-replay')?.activities ?? [];
    expect(Object.keys(callers).sort()).toEqual([...activities].sort());
    expect(callers['transitionDlqReplay']?.map((one) => one.label)).toEqual([...dlqReplayEvents]);
  });

  it.each(cells)('$name', { timeout: 240_000 }, async ({ name }) => {
    const expectation = await running.get(name);
    if (expectation === undefined) throw new Error('the cell was not started');
    done.set(name, expectation);
  });

  it('is complete, has struck with every fault, and leaves nothing behind', async () => {
    process.stdout.write(`cells: ${done.size} of ${cells.length}\n`);
    expect([...done.keys()].sort()).toEqual(cells.map((cell) => cell.name).sort());
    expect([...struck].sort()).toEqual(cells.map((cell) => cell.name).sort());
    const deaths = lab.processes?.deaths ?? [];
    expect(new Set(deaths.map((death) => death.pid))).toEqual(lab.faults.dying);
    expect(deaths.length).toBeGreaterThan(0);
    await assertReplays(lab, [...done.values()]);
  });
});
