/**
 * No database connection is held while anything else is waited for. Every gRPC call, every publish and every wait for a
 * node passes a probe that samples what its async context holds; then a connection is held on purpose, and caught.
 */
import { Client as GrpcClient } from '@grpc/grpc-js';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { command } from '../../api/allocations/allocation.commands.ts';
import { completeActivity } from '../../api/nodes/node-task.commands.ts';
import { asId } from '../../contracts/ids.ts';
import * as database from '../../db/client.ts';
import { startMissingRuns } from '../../workers/reconcilers/missing-runs.ts';
import { JetStreamSink } from '../../workers/relay/jetstream.ts';
import { createLogger } from '../../activities/platform/logging.ts';
import { assertNoResidue, startLab, type Lab } from '../harness/lab.ts';
import { lives } from './lives.ts';

/** What was held at each wait, by what was waited for. */
const sampled = vi.hoisted(() => new Map<string, number[]>());

vi.mock('../../db/client.ts', async (original) => {
  const real = await original<typeof database>();
  return {
    ...real,
    assertNoConnectionHeld: (waitingFor: string): void => {
      const what = `declared: ${waitingFor}`;
      sampled.set(what, [...(sampled.get(what) ?? []), real.heldConnections()]);
      real.assertNoConnectionHeld(waitingFor);
    },
  };
});

const sample = (what: string): void => {
  sampled.set(what, [...(sampled.get(what) ?? []), database.heldConnections()]);
};

let lab: Lab;

beforeAll(async () => {
  // Below every client of the engine, and below the relay's sink: no caller can forget to be sampled.
  const call = GrpcClient.prototype.makeUnaryRequest;
  vi.spyOn(GrpcClient.prototype, 'makeUnaryRequest').mockImplementation(function (
    this: GrpcClient,
    ...args: Parameters<typeof call>
  ) {
    sample(`engine: ${args[0].split('/').at(-1) ?? ''}`);
    return call.apply(this, args);
  } as typeof call);
  const publish = JetStreamSink.prototype.publish;
  vi.spyOn(JetStreamSink.prototype, 'publish').mockImplementation(function (this: JetStreamSink, row) {
    sample('stream: publish');
    return publish.call(this, row);
  });
  lab = await startLab({ nodes: ['plain', 'forced', 'resumed', 'release-fails'] });
});

afterAll(async () => {
  await lab.stop();
  vi.restoreAllMocks();
});

describe('a wait', () => {
  it('never holds a connection, in whole lives of allocations', async () => {
    const done = await Promise.all([
      lives.plain(lab, 'plain', undefined),
      lives.forced(lab, 'forced', undefined),
      lives.resumed(lab, 'resumed', undefined),
      lives.releaseFails(lab, 'release-fails', undefined),
    ]);
    await assertNoResidue(
      lab,
      done.map((life) => life.expectation),
    );
    const held = [...sampled].filter(([, counts]) => counts.some((count) => count > 0)).map(([what]) => what);
    expect(held).toEqual([]);
    // API (admission, command), agents' results, reconcilers, node waits and relay: each of them has waited.
    const waits = [...sampled.keys()];
    expect(waits).toEqual(
      expect.arrayContaining([
        'engine: ExecuteMultiOperation',
        'engine: UpdateWorkflowExecution',
        'engine: RespondActivityTaskCompletedById',
        'engine: ListWorkflowExecutions',
        'engine: StartWorkflowExecution',
        'stream: publish',
        'declared: temporal',
        'declared: a node task',
      ]),
    );
    process.stdout.write(
      `waits: ${JSON.stringify(Object.fromEntries([...sampled].map(([k, v]) => [k, v.length])))}\n`,
    );
  });
});

describe('a connection held on purpose', () => {
  const within = (work: () => Promise<unknown>) =>
    lab.db.tx(async (tx) => {
      await tx.execute(sql`select 1`);
      await work();
    });
  const id = '00000000-0000-4000-8000-000000000001';

  it('is caught before a command', async () => {
    const order = {
      operationId: asId<never>(id),
      command: 'release',
      actorUserId: asId<never>(id),
      actorRole: 'user',
      reason: 'planted',
      correlationId: 'planted',
    } as const;
    const call = () => command(lab.temporal, asId(id), order, 'planted');
    await expect(within(async () => await call())).rejects.toThrow(/held while waiting for temporal/);
  });

  it('is caught before an activity is completed', async () => {
    const task = { id, workflowId: 'planted', runId: id, activityId: '1' };
    const call = () => completeActivity(lab.temporal, lab.db, task, { outcome: 'cancelled' });
    await expect(within(call)).rejects.toThrow(/held while waiting for temporal/);
  });

  it('is caught in a reconciler', async () => {
    const log = createLogger({ process: 'test', level: 'silent' });
    const call = () => startMissingRuns({ db: lab.db, client: lab.temporal, log });
    await expect(within(call)).rejects.toThrow(/held while waiting for temporal/);
  });

  it('is seen by the probe too', async () => {
    const before = (sampled.get('engine: DescribeWorkflowExecution') ?? []).length;
    await within(() =>
      lab.temporal.workflow
        .getHandle('planted')
        .describe()
        .catch(() => undefined),
    );
    const after = sampled.get('engine: DescribeWorkflowExecution') ?? [];
    expect(after.slice(before)).toContain(1);
  });
});
