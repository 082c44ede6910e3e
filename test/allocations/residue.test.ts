/** The residue audit is itself audited: every kind of residue is planted, each on an allocation of its own. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { streams } from '../../contracts/streams.ts';
import { readEventTrail } from '../../workers/relay/trail.ts';
import { assertNoResidue, startLab, type Lab } from '../harness/lab.ts';
import {
  auditResidue,
  residueKinds,
  type Expectation,
  type Finding,
  type ResidueKind,
} from '../harness/residue.ts';
import { lives } from './lives.ts';

interface Spot {
  readonly id: string;
  readonly nodeId: string;
  readonly root: string;
}

/** Plants one kind; may change what is expected. */
type Plant = (spot: Spot) => Promise<Expectation | void> | Expectation | void;

let lab: Lab;
const spots = new Map<ResidueKind, Spot>();
const stream = streams[0].name;

beforeAll(async () => {
  lab = await startLab({ nodes: residueKinds });
  await Promise.all(
    residueKinds.map(async (kind) => {
      const { expectation } = await lives.plain(lab, kind, undefined);
      const row = await lab.row(expectation.id);
      const node = lab.nodes.get(row?.nodeId ?? '');
      if (node === undefined) throw new Error('the allocation has no node');
      spots.set(kind, { id: expectation.id, nodeId: node.id, root: node.root });
    }),
  );
  // From here on nobody repairs what is planted.
  await lab.stopWorker();
});

afterAll(() => lab.stop());

const run = (query: ReturnType<typeof sql>) => lab.db.q.execute(query);
const file = (root: string, at: string, text: string): void => {
  mkdirSync(path.dirname(path.join(root, at)), { recursive: true });
  writeFileSync(path.join(root, at), text);
};
const lastVersion = async (id: string): Promise<number> => (await lab.row(id))?.version ?? 0;
const eventsOf = (id: string) => readEventTrail(lab.nc, { entityId: id, timeoutMs: 5000 });

async function insertStep(id: string, seq: number, event: string, from: string, to: string): Promise<void> {
  await run(sql`insert into timeline (entity_id, seq, stem, event, from_state, to_state, at, actor_type, correlation_id)
    values (${id}::uuid, ${seq}, 'allocation', ${event}, ${from}, ${to}, gpuaas_now(), 'system', 'planted')`);
}

async function moveToEnd(id: string, keepFirst: boolean): Promise<void> {
  const [first] = await eventsOf(id);
  if (first === undefined) throw new Error('no event to plant with');
  if (!keepFirst) await (await lab.nc.jetstreamManager()).streams.deleteMessage(stream, first.seq);
  const body = new TextEncoder().encode(JSON.stringify(first.envelope));
  await lab.nc.jetstream().publish(first.subject, body, { msgID: randomUUID() });
}

const plants: Readonly<Record<Exclude<ResidueKind, 'nothing-examined'>, Plant>> = {
  'row-missing': () => ({ id: randomUUID(), state: 'released' }),
  'row-state': ({ id }) => ({ id, state: 'failed' }),
  'placement-left': async ({ id, nodeId }) => {
    await run(sql`insert into placements (node_id, slot, allocation_id, taken_at)
      values (${nodeId}::uuid, 0, ${id}::uuid, gpuaas_now())`);
  },
  'placement-missing': async ({ id }) => {
    await run(sql`update allocations set state = 'release_failed' where id = ${id}::uuid`);
    return { id, state: 'release_failed' };
  },
  'node-user': ({ root }) => file(root, 'etc/passwd', 'left:x:10001:10001::/home/left:/bin/bash\n'),
  'node-home': ({ root }) => file(root, 'home/left/.ssh/authorized_keys', 'left\n'),
  'node-scratch': ({ root, id }) => file(root, `scratch/${id}/left`, 'left\n'),
  'node-storage': ({ root, id }) => file(root, `mnt/gpuaas/${id}/left`, 'left\n'),
  'node-process': ({ root }) => file(root, 'proc/4711.json', '{"uid": 10001}'),
  'node-gpu': ({ root }) => {
    const gpu = JSON.parse(readFileSync(path.join(root, 'dev/gpu0.json'), 'utf8')) as object;
    file(root, 'dev/gpu0.json', JSON.stringify({ ...gpu, memory_residue: true }));
  },
  'node-record': ({ root, id }) => file(root, `var/lib/gpuaas-node-agent/allocations/${id}.json`, '{}'),
  'run-open': async ({ id }) => {
    const workflowId = allocationWorkflowId(asId(id));
    await lab.temporal.workflow.start('allocation', { workflowId, taskQueue: 'nobody-polls', args: [] });
  },
  'run-missing': async ({ id }) => {
    await run(sql`update allocations set state = 'active' where id = ${id}::uuid`);
  },
  'task-open': async ({ id }) => {
    await run(sql`update node_tasks set state = 'queued' where allocation_id = ${id}::uuid`);
  },
  'task-uncompleted': async ({ id }) => {
    await run(sql`update node_tasks set completed_at = null where allocation_id = ${id}::uuid`);
  },
  'outbox-unpublished': async ({ id }) => {
    // A partition that no relay looks at.
    await run(sql`insert into outbox (event_id, subject, aggregate_id, aggregate_seq, partition, body, created_at)
      values (${randomUUID()}::uuid, 'gpuaas.provisioning.active', ${id}::uuid, 99, 99, '{}'::jsonb, gpuaas_now())`);
  },
  'event-missing': async ({ id }) => {
    const [first] = await eventsOf(id);
    await (await lab.nc.jetstreamManager()).streams.deleteMessage(stream, first?.seq ?? 0);
  },
  'event-stranger': async ({ id }) => {
    const [first] = await eventsOf(id);
    const body = JSON.stringify({ ...first?.envelope, event_id: randomUUID() });
    await lab.nc.jetstream().publish('gpuaas.provisioning.active', new TextEncoder().encode(body));
  },
  'event-twice': ({ id }) => moveToEnd(id, true),
  'event-disorder': ({ id }) => moveToEnd(id, false),
  'operation-open': async ({ id }) => {
    await run(
      sql`update operations set state = 'open' where entity_id = ${id}::uuid and kind = 'allocation.release'`,
    );
  },
  'timeline-gap': async ({ id }) =>
    insertStep(id, (await lastVersion(id)) + 2, 'activated', 'released', 'active'),
  'timeline-step': async ({ id }) =>
    insertStep(id, (await lastVersion(id)) + 1, 'activated', 'released', 'active'),
  'timeline-row': async ({ id }) => {
    await run(sql`update allocations set version = version + 1 where id = ${id}::uuid`);
  },
  'audit-missing': async ({ id }) => {
    await run(sql`insert into audit_logs (at, actor_role, action, target_type, target_id, result, correlation_id, details)
      values (gpuaas_now(), 'admin', 'allocation.force_release', 'allocation', ${id}, 'succeeded', 'planted', '{}'::jsonb)`);
  },
};

async function audit(expectations: readonly Expectation[]): Promise<readonly Finding[]> {
  const roots = new Map([...lab.nodes.values()].map((node) => [node.id, node.root]));
  const world = { q: lab.db.q, temporal: lab.temporal, nc: lab.nc, roots };
  return (await auditResidue(world, expectations)).findings;
}

function spotOf(kind: ResidueKind): Spot {
  const spot = spots.get(kind);
  if (spot === undefined) throw new Error(`no allocation for ${kind}`);
  return spot;
}

describe('the residue audit', () => {
  it('finds nothing where nothing was planted', async () => {
    const clean = [...spots.values()].map(({ id }): Expectation => ({ id, state: 'released' }));
    const examined = await assertNoResidue(lab, clean);
    expect(Object.values(examined).every((count) => count > 0)).toBe(true);
  });

  it('calls an audit of nothing a finding', async () => {
    const kinds = (await audit([])).map((finding) => finding.kind);
    expect(new Set(kinds)).toEqual(new Set(['nothing-examined']));
  });

  it.each(Object.keys(plants) as (keyof typeof plants)[])('finds %s', async (kind) => {
    const spot = spotOf(kind);
    const expectation = (await plants[kind](spot)) ?? { id: spot.id, state: 'released' as const };
    const found = (await audit([expectation])).map((finding) => finding.kind);
    expect(found).toContain(kind);
  });
});
