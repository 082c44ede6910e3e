/**
 * The residue audit: what a set of allocations may leave behind when it has ended. It reads every part for itself
 * (rows, nodes, engine, stream) and never through the code that wrote them.
 */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { sql } from 'drizzle-orm';
import type { NatsConnection } from 'nats';
import {
  isTerminalAllocationState,
  nextAllocationState,
  type AllocationEvent,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import type { Queryable } from '../../db/client.ts';
import { readEventTrail, type TrailEvent } from '../../workers/relay/trail.ts';
import { nodeResidue, nodeResidueKinds } from './residue-nodes.ts';

/** How an allocation is to have ended. */
export interface Expectation {
  readonly id: string;
  readonly state: 'released' | 'failed' | 'release_failed';
  /** Its node could not be proven clean: the slots stay, in quarantine. Only for `failed`. */
  readonly quarantined?: boolean;
}

export const residueKinds = [
  'nothing-examined',
  'row-missing',
  'row-state',
  'placement-left',
  'placement-missing',
  ...nodeResidueKinds,
  'run-open',
  'run-missing',
  'task-open',
  'task-uncompleted',
  'outbox-unpublished',
  'event-missing',
  'event-stranger',
  'event-twice',
  'event-disorder',
  'operation-open',
  'timeline-gap',
  'timeline-step',
  'timeline-row',
  'audit-missing',
] as const;
export type ResidueKind = (typeof residueKinds)[number];

export interface Finding {
  readonly kind: ResidueKind;
  /** What it was found at: an allocation, a node, or an area of the audit. */
  readonly at: string;
  readonly detail: string;
}

/** How many things each area of the audit has looked at. */
export type Examined = Readonly<Record<string, number>>;

export interface AuditWorld {
  readonly q: Queryable;
  readonly temporal: Client;
  readonly nc: NatsConnection;
  /** Root folder of each simulated node, by node id. */
  readonly roots: ReadonlyMap<string, string>;
}

export interface AuditReport {
  readonly findings: readonly Finding[];
  readonly examined: Examined;
}

interface Row extends Record<string, unknown> {
  readonly id: string;
  readonly state: AllocationState;
  readonly version: number;
  readonly node_id: string;
}

interface Step extends Record<string, unknown> {
  readonly entity_id: string;
  readonly seq: number;
  readonly event: AllocationEvent | 'requested';
  readonly from_state: AllocationState | null;
  readonly to_state: AllocationState;
}

type Add = (kind: ResidueKind, at: string, detail: string) => void;

interface Scope {
  readonly world: AuditWorld;
  readonly ids: readonly string[];
  readonly expected: ReadonlyMap<string, Expectation>;
  readonly rows: ReadonlyMap<string, Row>;
  readonly steps: ReadonlyMap<string, readonly Step[]>;
  readonly add: Add;
}

/** Looks once, at everything. */
export async function auditResidue(
  world: AuditWorld,
  expectations: readonly Expectation[],
): Promise<AuditReport> {
  const findings: Finding[] = [];
  const add: Add = (kind, at, detail) => void findings.push({ kind, at, detail });
  const ids = expectations.map((one) => one.id);
  const list = uuids(ids);
  const rows = await select<Row>(
    world.q,
    sql`select id, state, version, node_id from allocations where id = any(${list})`,
  );
  const steps = await select<Step>(
    world.q,
    sql`select entity_id, seq, event, from_state, to_state from timeline where entity_id = any(${list}) order by seq`,
  );
  const scope: Scope = {
    world,
    ids,
    expected: new Map(expectations.map((one) => [one.id, one])),
    rows: new Map(rows.map((row) => [row.id, row])),
    steps: groupBy(steps, (step) => step.entity_id),
    add,
  };
  const examined: Examined = {
    rows: auditRows(scope),
    timeline: auditTimeline(scope),
    placements: await auditPlacements(scope),
    nodes: await auditNodes(scope),
    runs: await auditRuns(scope),
    tasks: await auditTasks(scope),
    events: await auditEvents(scope),
    operations: await auditOperations(scope),
    audit: await auditLog(scope),
  };
  for (const [area, count] of Object.entries(examined)) {
    if (count === 0) add('nothing-examined', area, 'an audit of nothing proves nothing');
  }
  return { findings, examined };
}

function auditRows({ expected, rows, add }: Scope): number {
  for (const { id, state } of expected.values()) {
    const row = rows.get(id);
    if (row === undefined) add('row-missing', id, `expected ${state}`);
    else if (row.state !== state) add('row-state', id, `is ${row.state}, expected ${state}`);
  }
  return rows.size;
}

function auditTimeline({ rows, steps, add }: Scope): number {
  let count = 0;
  for (const row of rows.values()) {
    const own = steps.get(row.id) ?? [];
    count += own.length;
    let before: AllocationState | null = null;
    own.forEach((step, index) => {
      if (step.seq !== index + 1) add('timeline-gap', row.id, `entry ${index + 1} has number ${step.seq}`);
      const to =
        step.event === 'requested' || before === null ? 'requested' : nextAllocationState(before, step.event);
      const first = step.event === 'requested' ? index === 0 : index > 0;
      if (!first || to !== step.to_state || step.from_state !== before) {
        add('timeline-step', row.id, `${step.seq}: ${before} -${step.event}-> ${step.to_state}`);
      }
      before = step.to_state;
    });
    const last = own.at(-1);
    if (last?.seq !== row.version || last.to_state !== row.state) {
      add(
        'timeline-row',
        row.id,
        `ends at ${last?.seq} ${last?.to_state}, the row says ${row.version} ${row.state}`,
      );
    }
  }
  return count;
}

async function auditPlacements({ world, ids, expected, rows, add }: Scope): Promise<number> {
  const found = await select<{ id: string; free: number; quarantined: number }>(
    world.q,
    sql`select a.id, count(p.node_id) filter (where p.quarantined_at is null)::int as free,
               count(p.quarantined_at)::int as quarantined
        from allocations a left join placements p on p.allocation_id = a.id
        where a.id = any(${uuids(ids)}) group by a.id`,
  );
  for (const { id, free, quarantined } of found) {
    const state = rows.get(id)?.state;
    const mayQuarantine = state === 'failed' && expected.get(id)?.quarantined === true;
    const held = `${free} taken, ${quarantined} in quarantine`;
    if (state === 'release_failed') {
      if (free === 0) add('placement-missing', id, `${held}: its node is still assigned`);
    } else if (mayQuarantine) {
      if (quarantined === 0) add('placement-missing', id, `${held}: nobody may get the node`);
      if (free > 0) add('placement-left', id, held);
    } else if (free + quarantined > 0) add('placement-left', id, held);
  }
  return found.length;
}

async function auditNodes({ world, expected, rows, add }: Scope): Promise<number> {
  const stillHeld = new Set<string>();
  const used = new Set<string>();
  for (const row of rows.values()) {
    used.add(row.node_id);
    if (row.state === 'release_failed' || expected.get(row.id)?.quarantined === true)
      stillHeld.add(row.node_id);
  }
  let count = 0;
  for (const nodeId of used) {
    const root = world.roots.get(nodeId);
    if (root === undefined || stillHeld.has(nodeId)) continue;
    count += 1;
    for (const { kind, detail } of await nodeResidue(root)) add(kind, nodeId, detail);
  }
  return count;
}

async function auditRuns({ world, rows, add }: Scope): Promise<number> {
  const look = async (row: Row): Promise<void> => {
    const open = await hasOpenRun(world.temporal, row.id);
    if (open && isTerminalAllocationState(row.state))
      add('run-open', row.id, `the allocation is ${row.state}`);
    if (!open && !isTerminalAllocationState(row.state))
      add('run-missing', row.id, `the allocation is ${row.state}`);
  };
  await Promise.all([...rows.values()].map(look));
  return rows.size;
}

async function hasOpenRun(temporal: Client, id: string): Promise<boolean> {
  try {
    const seen = await temporal.workflow.getHandle(allocationWorkflowId(asId(id))).describe();
    return seen.status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

async function auditTasks({ world, ids, rows, add }: Scope): Promise<number> {
  const tasks = await select<{
    id: string;
    allocation_id: string;
    kind: string;
    state: string;
    told: boolean;
  }>(
    world.q,
    sql`select id, allocation_id, kind, state, (verdict is null or completed_at is not null) as told
        from node_tasks where allocation_id = any(${uuids(ids)})`,
  );
  for (const task of tasks) {
    const row = rows.get(task.allocation_id);
    const over =
      row !== undefined && (isTerminalAllocationState(row.state) || row.state === 'release_failed');
    const what = `${task.kind} ${task.id}`;
    if (over && (task.state === 'queued' || task.state === 'offered'))
      add('task-open', task.allocation_id, what);
    if (!task.told) add('task-uncompleted', task.allocation_id, what);
  }
  return tasks.length;
}

/** The events that a step of the timeline promises, in order. */
const eventsOf: Record<Step['event'], readonly string[]> = {
  requested: ['gpuaas.provisioning.requested'],
  provisioning_started: [],
  activated: ['gpuaas.provisioning.active'],
  provision_failed: ['gpuaas.provisioning.failed'],
  release_requested: ['gpuaas.provisioning.releasing.requested'],
  force_release_requested: [
    'gpuaas.provisioning.force_release_requested',
    'gpuaas.provisioning.releasing.requested',
  ],
  released: ['gpuaas.provisioning.releasing.completed'],
  release_failed: ['gpuaas.provisioning.release_failed'],
};

async function auditEvents({ world, ids, steps, add }: Scope): Promise<number> {
  const unpublished = await select<{ aggregate_id: string; subject: string }>(
    world.q,
    sql`select aggregate_id, subject from outbox where published_at is null and aggregate_id = any(${uuids(ids)})`,
  );
  for (const row of unpublished) add('outbox-unpublished', row.aggregate_id, row.subject);
  const trail = await readEventTrail(world.nc, { timeoutMs: 10_000 });
  const byAllocation = groupBy(trail, allocationOf);
  let count = 0;
  for (const id of ids) {
    const promised = (steps.get(id) ?? []).flatMap((step) => eventsOf[step.event]);
    const stored = byAllocation.get(id) ?? [];
    count += stored.length;
    compareEvents(id, promised, stored, add);
  }
  return count;
}

function compareEvents(
  id: string,
  promised: readonly string[],
  stored: readonly TrailEvent[],
  add: Add,
): void {
  const seen = new Set<string>();
  const once = stored.filter((event) => {
    if (seen.has(event.envelope.event_id))
      add('event-twice', id, `${event.subject} ${event.envelope.event_id}`);
    else seen.add(event.envelope.event_id);
    return (
      seen.size > 0 && stored.find((other) => other.envelope.event_id === event.envelope.event_id) === event
    );
  });
  const subjects = once.map((event) => event.subject);
  const strangers = [...subjects];
  const missing = promised.filter((subject) => {
    const at = strangers.indexOf(subject);
    if (at >= 0) strangers.splice(at, 1);
    return at < 0;
  });
  for (const subject of missing) add('event-missing', id, subject);
  for (const subject of strangers) add('event-stranger', id, subject);
  if (missing.length === 0 && strangers.length === 0 && subjects.join() !== promised.join()) {
    add('event-disorder', id, `${subjects.join(' ')} instead of ${promised.join(' ')}`);
  }
}

function allocationOf({ envelope }: TrailEvent): string {
  const { allocation_id: one, allocation_ids: several } = envelope.payload;
  return String(one ?? (Array.isArray(several) ? several[0] : ''));
}

async function auditOperations({ world, ids, add }: Scope): Promise<number> {
  const found = await select<{ entity_id: string; kind: string; state: string }>(
    world.q,
    sql`select entity_id, kind, state from operations where entity_id = any(${uuids(ids)})`,
  );
  for (const { entity_id, kind, state } of found)
    if (state === 'open') add('operation-open', entity_id, kind);
  return found.length;
}

/** Every force-release has its row in the audit log. @returns the timelines that were compared with the log. */
async function auditLog({ world, ids, steps, add }: Scope): Promise<number> {
  const found = await select<{ target_id: string; count: number }>(
    world.q,
    sql`select target_id, count(*)::int as count from audit_logs
        where action = 'allocation.force_release' and result = 'succeeded'
          and target_id = any(${sql.param([...ids])}::text[]) group by target_id`,
  );
  const logged = new Map(found.map((row) => [row.target_id, row.count]));
  for (const [id, own] of steps) {
    const forced = own.filter((step) => step.event === 'force_release_requested').length;
    const written = logged.get(id) ?? 0;
    if (written !== forced) add('audit-missing', id, `${forced} forced releases, ${written} audit rows`);
  }
  return steps.size;
}

const uuids = (ids: readonly string[]) => sql`${sql.param([...ids])}::uuid[]`;

async function select<T extends Record<string, unknown>>(
  q: Queryable,
  query: ReturnType<typeof sql>,
): Promise<T[]> {
  const found: { readonly rows: unknown[] } = await q.execute(query);
  return found.rows as T[];
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}
