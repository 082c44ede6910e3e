/**
 * The fault matrix: every activity of the lifecycle × every way in which it can go wrong, each through a whole life of an
 * allocation, all of them at once on nodes of their own; then one residue audit over everything.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationEvents } from '../../contracts/allocations/allocation.lifecycle.ts';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { cleanupSequence, nodeTaskKinds } from '../../contracts/nodes/node-task.tasks.ts';
import { faultKinds, runTwice, type FaultKind, type FaultTarget } from '../harness/faults.ts';
import { assertNoResidue, startLab, type Lab } from '../harness/lab.ts';
import type { Expectation } from '../harness/residue.ts';
import { lives, nodeOfSku, type Life, type LifeName } from './lives.ts';

interface Cell {
  readonly name: string;
  /** Also the SKU of its one node. */
  readonly sku: string;
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
  const cells: Omit<Cell, 'sku'>[] = [];
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
  cells.push({ name: 'undo on a node that fails to prepare', life: 'provisionFails' });
  cells.push({ name: 'undo that the node cannot do', life: 'undoFails' });
  return cells.map((cell, index) => ({ ...cell, sku: `cell-${index}` }));
}

/** Longer than the engine's first pause between two attempts. */
const slowNodeMs = 1500;

/** Cells at a time: more would only wait for the two cores. */
const sideBySide = 32;

const cells = enumerate();
/** Time-outs are waited for; whoever has one begins with it. */
const slowestFirst = [...cells].sort((a, b) => Number(isTimeOut(b)) - Number(isTimeOut(a)));
let lab: Lab;
let running: ReadonlyMap<string, Promise<Expectation>>;
const done = new Map<string, Expectation>();

beforeAll(async () => {
  lab = await startLab({ nodes: cells.map((cell) => cell.sku) });
  const inTurn = atMost(sideBySide);
  running = new Map(slowestFirst.map((cell) => [cell.name, inTurn(() => live(cell))]));
  // Each cell is awaited by its own test; until then nobody looks at a failure.
  for (const outcome of running.values()) outcome.catch(() => undefined);
});

afterAll(() => lab.stop());

function isTimeOut({ fault }: Cell): boolean {
  return fault?.name === 'time-out';
}

/** Runs at most so many jobs at a time, in the order in which they come. */
function atMost(limit: number): <T>(job: () => Promise<T>) => Promise<T> {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
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
    await rule.settled();
    if (!rule.struck()) throw new Error(`the fault never struck: ${rule.calls()} calls`);
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

  it.each(cells)('$name', { timeout: 240_000 }, async ({ name }) => {
    const expectation = await running.get(name);
    if (expectation === undefined) throw new Error('the cell was not started');
    done.set(name, expectation);
  });

  it('is complete and leaves nothing behind', async () => {
    process.stdout.write(`cells: ${done.size} of ${cells.length}\n`);
    expect([...done.keys()].sort()).toEqual(cells.map((cell) => cell.name).sort());
    const examined = await assertNoResidue(lab, [...done.values()]);
    process.stdout.write(`examined: ${JSON.stringify(examined)}\n`);
  });
});
