/**
 * The fault matrix: every activity of the lifecycle × every way in which it can go wrong, each through a whole life of an
 * allocation on a node of its own, then one residue audit over everything. The workers are processes of their own; a crash
 * is their SIGKILL.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationEvents } from '../../contracts/allocations/allocation.lifecycle.ts';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { cleanupSequence, nodeTaskKinds } from '../../contracts/nodes/node-task.tasks.ts';
import { assertStruck, startCells, type Cell as TableCell } from '../harness/cells.ts';
import {
  crashAfter,
  faultKinds,
  isDeath,
  runTwice,
  type FaultKind,
  type FaultTarget,
} from '../harness/faults.ts';
import { assertNoResidue, startLab, type Lab } from '../harness/lab.ts';
import type { Expectation } from '../harness/residue.ts';
import { lives, nodeOfSku, type Life, type LifeName } from './lives.ts';

interface Cell extends TableCell {
  readonly life: LifeName;
  readonly target?: FaultTarget;
  readonly fault?: FaultKind;
}

/** The lives in which each activity is called; the keys are compared with the registry. */
const callers: Readonly<Record<string, readonly (FaultTarget & { readonly life: LifeName })[]>> = {
  admitAllocation: [{ activity: 'admitAllocation', life: 'plain' }],
  resumeAllocation: [{ activity: 'resumeAllocation', life: 'resumed' }],
  transitionAllocation: [
    { activity: 'transitionAllocation', label: 'activated', life: 'plain' },
    { activity: 'transitionAllocation', label: 'provision_failed', life: 'provisionFails' },
    { activity: 'transitionAllocation', label: 'release_requested', life: 'plain' },
    { activity: 'transitionAllocation', label: 'force_release_requested', life: 'forced' },
    { activity: 'transitionAllocation', label: 'released', life: 'plain' },
    { activity: 'transitionAllocation', label: 'release_failed', life: 'releaseFails' },
  ],
  refuseCommand: [{ activity: 'refuseCommand', life: 'refused' }],
  runNodeTask: nodeTaskKinds.map((kind) => ({ activity: 'runNodeTask', label: kind, life: 'plain' })),
};

/** Travels with the first node task: its cells are those of `runNodeTask` with `node.allocation_prepare`. */
const travelling = ['provisioning_started'];

function enumerate(): Cell[] {
  const cells: Omit<Cell, 'sku' | 'deadly'>[] = [];
  for (const { life, ...target } of Object.values(callers).flat()) {
    for (const fault of faultKinds) {
      const what = [target.activity, target.label].filter((part) => part !== undefined).join(' ');
      cells.push({ name: `${what}: ${fault.name}`, life, target, fault });
    }
  }
  for (const kind of cleanupSequence) {
    const target = { activity: 'runNodeTask', label: kind } as const;
    cells.push({ name: `undo ${kind}: ${runTwice.name}`, life: 'provisionFails', target, fault: runTwice });
  }
  cells.push({
    name: `a wish in the workflow task of activated: ${crashAfter.name}`,
    life: 'wishAtActivation',
    target: { activity: 'transitionAllocation', label: 'release_requested' },
    fault: crashAfter,
  });
  cells.push({ name: 'undo on a node that fails to prepare', life: 'provisionFails' });
  cells.push({ name: 'undo that the node cannot do', life: 'undoFails' });
  return cells.map((cell, index) => ({ ...cell, sku: `cell-${index}`, deadly: isDeath(cell.fault) }));
}

/** Longer than the engine's first pause between two attempts. */
const slowNodeMs = 1500;

/** Replicas of the worker: while one is dead the other goes on. */
const workerProcesses = 2;

const cells = enumerate();
/** Time-outs are waited for; whoever has one begins with it. */
const slowestFirst = [...cells].sort((a, b) => Number(isTimeOut(b)) - Number(isTimeOut(a)));
let lab: Lab;
let running: ReadonlyMap<string, Promise<Expectation>>;
const done = new Map<string, Expectation>();
/** Faults of which a worker, or its end, has told. */
const struck = new Map<string, string>();

beforeAll(async () => {
  lab = await startLab({ nodes: cells.map((cell) => cell.sku), workerProcesses });
  running = startCells(lab, slowestFirst, live);
});

afterAll(() => lab.stop());

function isTimeOut({ fault }: Cell): boolean {
  return fault?.name === 'time-out';
}

async function live(cell: Cell): Promise<Expectation> {
  const life: Life = lives[cell.life];
  const { target, fault } = cell;
  // The engine has to try again before the node answers: otherwise nobody sees what the next attempt does.
  const label = target?.label;
  const kind = nodeTaskKinds.find((one) => one === label);
  if (kind !== undefined && cell.life === 'plain') {
    nodeOfSku(lab, cell.sku).faults([{ kind, behaviour: 'hang', delayMs: slowNodeMs }]);
  }
  const { expectation, rule } = await life(
    lab,
    cell.sku,
    target === undefined || fault === undefined ? undefined : { target, fault },
  );
  if (rule !== undefined) {
    await assertStruck(rule);
    struck.set(cell.name, cell.fault?.name ?? '');
    // An attempt that comes too late may be told so; every other one finds what was done before it.
    if (rule.failures().length > 0 && !isTimeOut(cell)) throw new Error(rule.failures().join('\n'));
  }
  return expectation;
}

describe('the matrix', () => {
  it('has a caller for every activity of the registry', () => {
    const activities = lifecycles.find((one) => one.stem === 'allocation')?.activities ?? [];
    expect(Object.keys(callers).sort()).toEqual([...activities].sort());
  });

  it('has a caller for every transition', () => {
    const labels = callers['transitionAllocation']?.map((one) => one.label) ?? [];
    expect(new Set([...labels, ...travelling])).toEqual(new Set(allocationEvents));
  });

  it.each(cells)('$name', { timeout: 480_000 }, async ({ name }) => {
    const expectation = await running.get(name);
    if (expectation === undefined) throw new Error('the cell was not started');
    done.set(name, expectation);
  });

  it('has struck with every fault, and no worker died that was not told to', () => {
    const ordered = cells.filter((cell) => cell.fault !== undefined);
    expect([...struck.keys()].sort()).toEqual(ordered.map((cell) => cell.name).sort());
    const deaths = lab.processes?.deaths ?? [];
    expect(deaths.map((death) => death.signal)).toEqual(deaths.map(() => 'SIGKILL'));
    expect(new Set(deaths.map((death) => death.pid))).toEqual(lab.faults.dying);
    expect(deaths.length).toBeGreaterThan(0);
    const names = [...faultKinds.map((kind) => kind.name)];
    const counts = names.map(
      (name) => `${name} ${[...struck.values()].filter((one) => one === name).length}`,
    );
    process.stdout.write(`struck: ${counts.join(', ')}; workers killed: ${deaths.length}\n`);
  });

  it('is complete and leaves nothing behind', async () => {
    process.stdout.write(`cells: ${done.size} of ${cells.length}\n`);
    expect([...done.keys()].sort()).toEqual(cells.map((cell) => cell.name).sort());
    const examined = await assertNoResidue(lab, [...done.values()]);
    process.stdout.write(`examined: ${JSON.stringify(examined)}\n`);
  });
});
