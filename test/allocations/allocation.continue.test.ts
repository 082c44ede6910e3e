/**
 * Runs that continue as new while something goes wrong: workers killed around it, commands that arrive during it. The engine
 * is told to suggest it after a few events; the workflow decides as it always does.
 */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { updateIdOf } from '../../api/engine.ts';
import {
  releaseUpdate,
  type OperationOutcome,
  type ReleaseCommand,
} from '../../contracts/allocations/allocation.messages.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { operations } from '../../db/schema.ts';
import { assertStruck, startCells, type Cell as TableCell } from '../harness/cells.ts';
import {
  crashAfter,
  crashBefore,
  faultKinds,
  isDeath,
  type FaultKind,
  type FaultTarget,
} from '../harness/faults.ts';
import { assertNoResidue, startLab, until, type Lab } from '../harness/lab.ts';
import type { Expectation } from '../harness/residue.ts';
import { runsOf, suggestAfterEvents } from './continued.ts';
import { beforeCreation, createSurely, nodeOfSku, releaseSurely } from './lives.ts';

const resume: FaultTarget = { activity: 'resumeAllocation' };
const transition = (label: string): FaultTarget => ({ activity: 'transitionAllocation', label });

interface Cell extends TableCell {
  readonly live: (sku: string) => Promise<Expectation>;
}

let lab: Lab;
let running: ReadonlyMap<string, Promise<Expectation>>;
const done = new Map<string, Expectation>();

/** How many wishes of its user moved the row. */
async function releasesOf(id: string): Promise<number> {
  const found = await lab.db.q.execute<{ count: number }>(
    sql`select count(*)::int as count from timeline where entity_id = ${id}::uuid
        and event in ('release_requested', 'force_release_requested')`,
  );
  return found.rows[0]?.count ?? 0;
}

const operationsOf = (id: string) =>
  lab.db.q
    .select()
    .from(operations)
    .where(sql`${operations.entityId} = ${id}::uuid and ${operations.kind} <> 'allocation.create'`)
    .orderBy(operations.createdAt);

/** It ended by exactly so many wishes, each accepted, and continued as new at least so often. */
async function ended(id: string, of: { releases: number; continued: number }): Promise<Expectation> {
  await lab.untilState(id, 'released');
  expect(await releasesOf(id)).toBe(of.releases);
  expect((await operationsOf(id)).map((one) => one.state)).toEqual(Array(of.releases).fill('accepted'));
  const runs = await runsOf(lab, id);
  expect(runs.length - 1).toBeGreaterThanOrEqual(of.continued);
  expect(runs.slice(1).map((run) => run.status)).toEqual(runs.slice(1).map(() => 'CONTINUED_AS_NEW'));
  return { id, state: 'released' };
}

const hasContinued = (id: string, times: number) =>
  until(`${id} has continued as new`, async () => {
    const runs = await runsOf(lab, id);
    return runs.length > times && (runs[0]?.events ?? 0) > 4;
  });

/** Active, in a run that continued as new, and released there; the fault strikes on the way. */
const through = (target: FaultTarget, fault: FaultKind) => async (sku: string) => {
  const { key, rule } = beforeCreation(lab, { target, fault });
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'active');
  await hasContinued(id, 1);
  await releaseSurely(lab, id);
  const end = await ended(id, { releases: 1, continued: 1 });
  if (rule !== undefined) await assertStruck(rule);
  return end;
};

const openWishes = async (id: string): Promise<number> =>
  (await operationsOf(id)).filter((one) => one.state === 'open').length;

/** A wish that is sent while a call is held; what becomes of the call then is the cell's. */
const wishDuring = (target: FaultTarget, fault?: FaultKind) => async (sku: string) => {
  const { key, id } = beforeCreation(lab, undefined);
  const held = lab.faults.hold(id, target, fault);
  await createSurely(lab, sku, key);
  await until(`${sku} is held`, () => held.rule.calls() > 0);
  const answered = releaseSurely(lab, id);
  await until(`${sku} has its wish`, async () => (await openWishes(id)) === 1);
  held.letGo();
  await answered;
  const end = await ended(id, { releases: 1, continued: target === resume ? 1 : 0 });
  await assertStruck(held.rule);
  return end;
};

/** As long as the engine hands the wish over before the run continues, it is tried with another allocation. */
async function wishWaitsThrough(sku: string): Promise<Expectation> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const end = await wishDuring(transition('activated'))(sku);
    const runs = await runsOf(lab, end.id);
    const takenBy = runs.findIndex((run) => run.updates.includes(releaseUpdate));
    // Newest first: the run that took it is not the oldest, although it was sent while that one was at work.
    if (takenBy >= 0 && takenBy < runs.length - 1) return end;
    earlier.push(end);
    if (performance.now() > deadline) throw new Error('no run continued with a wish in wait');
  }
}
const earlier: Expectation[] = [];

/** Fails its release and continues as new in `release_failed`; a further wish gets it out. */
const releaseFails = (meanwhile: (id: string) => Promise<void>, fault?: FaultKind) => async (sku: string) => {
  const order = fault && { target: transition('release_failed'), fault };
  const { key, rule } = beforeCreation(lab, order);
  const id = await createSurely(lab, sku, key);
  await lab.untilState(id, 'active');
  // A wish that is quicker than the run would be taken by the old one, which then continues only once.
  await hasContinued(id, 1);
  nodeOfSku(lab, sku).faults([{ kind: 'node.allocation_cleanup', behaviour: 'fail_permanent' }]);
  await releaseSurely(lab, id);
  await lab.untilState(id, 'release_failed');
  await hasContinued(id, 2);
  await meanwhile(id);
  await releaseSurely(lab, id);
  const end = await ended(id, { releases: 2, continued: 2 });
  if (rule !== undefined) await assertStruck(rule);
  return end;
};

/** The engine has forgotten the update with its run: it runs again, and finds its operation decided. */
async function sameUpdateAgain(id: string): Promise<void> {
  const [operation] = await operationsOf(id);
  if (operation === undefined) throw new Error('no operation');
  const before = await releasesOf(id);
  const answer = await lab.temporal.workflow
    .getHandle(allocationWorkflowId(asId(id)))
    .executeUpdate<OperationOutcome, [ReleaseCommand]>(releaseUpdate, {
      args: [operation.request as unknown as ReleaseCommand],
      updateId: updateIdOf(operation.caller, operation.route, operation.key),
    });
  expect(answer).toEqual(operation.outcome);
  const [newest] = await runsOf(lab, id);
  expect(newest?.updates).toEqual([releaseUpdate]);
  expect(await releasesOf(id)).toBe(before);
  expect((await lab.row(id))?.state).toBe('release_failed');
}

/** A caller who asks once more is answered by the operation's row. */
async function sameKeyAgain(id: string): Promise<void> {
  const [operation] = await operationsOf(id);
  const again = await lab.release(id, { key: operation?.key ?? randomUUID() });
  expect([again.status, (again.body as { id?: string }).id]).toEqual([202, operation?.id]);
  expect(await operationsOf(id)).toHaveLength(1);
}

function enumerate(): Cell[] {
  const nothing = () => Promise.resolve();
  const table: readonly (readonly [string, boolean, (sku: string) => Promise<Expectation>])[] = [
    ...[crashBefore, ...faultKinds].map(
      (kind) => [`the next run resumes: ${kind.name}`, isDeath(kind), through(resume, kind)] as const,
    ),
    ['the run is about to continue: crash', true, through(transition('activated'), crashAfter)],
    ['the next run takes a wish: crash', true, through(transition('release_requested'), crashAfter)],
    ['a wish while the run is about to continue', false, wishWaitsThrough],
    [
      'a wish while the run is about to continue: crash',
      true,
      wishDuring(transition('activated'), crashAfter),
    ],
    ['a wish while the next run resumes', false, wishDuring(resume)],
    ['a wish while the next run resumes: crash before', true, wishDuring(resume, crashBefore)],
    ['a wish while the next run resumes: crash after', true, wishDuring(resume, crashAfter)],
    ['in release_failed: crash', true, releaseFails(nothing, crashAfter)],
    ['in release_failed: the same update again', false, releaseFails(sameUpdateAgain)],
    ['in release_failed: the same key again', false, releaseFails(sameKeyAgain)],
  ];
  return table.map(([name, deadly, live], index) => ({ name, deadly, live, sku: `continued-${index}` }));
}

const cells = enumerate();

beforeAll(async () => {
  lab = await startLab({
    nodes: cells.map((cell) => cell.sku),
    workerProcesses: 2,
    dynamicConfig: suggestAfterEvents,
  });
  running = startCells(lab, cells, (cell) => cell.live(cell.sku));
});
afterAll(() => lab.stop());

describe('a run that continues as new', () => {
  it.each(cells)('$name', { timeout: 480_000 }, async ({ name }) => {
    const expectation = await running.get(name);
    if (expectation === undefined) throw new Error('the cell was not started');
    done.set(name, expectation);
  });

  it('was hit in every cell, and leaves nothing behind', async () => {
    process.stdout.write(`cells: ${done.size} of ${cells.length}\n`);
    expect([...done.keys()].sort()).toEqual(cells.map((cell) => cell.name).sort());
    const deaths = lab.processes?.deaths ?? [];
    expect(new Set(deaths.map((death) => death.pid))).toEqual(lab.faults.dying);
    expect(deaths.length).toBeGreaterThan(0);
    const examined = await assertNoResidue(lab, [...done.values(), ...earlier]);
    process.stdout.write(`workers killed: ${deaths.length}; examined: ${JSON.stringify(examined)}\n`);
  });
});
