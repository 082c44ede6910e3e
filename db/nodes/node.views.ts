import { and, asc, eq, gt, sql, type SQL } from 'drizzle-orm';
import type { nodeStates } from '../../contracts/nodes/node.api.ts';
import type { Queryable } from '../client.ts';
import { nodes } from '../schema.ts';

/** A node as admins see it. */
export interface NodeView {
  readonly id: string;
  readonly name: string;
  readonly sku: string;
  readonly state: (typeof nodeStates)[number];
  /** Derived from placements. */
  readonly occupancy: 'free' | 'allocated';
  readonly slot_count: number;
  readonly slots_quarantined: number;
  readonly ssh_host: string;
  readonly ssh_port: number;
  readonly last_contact_at: string | null;
  readonly created_at: string;
}

/** sha256 of the secret of a node's agent; undefined for an unknown or retired node. */
export async function readAgentSecretHash(q: Queryable, nodeId: string): Promise<Buffer | undefined> {
  const [row] = await q
    .select({ hash: nodes.agentSecretHash })
    .from(nodes)
    .where(and(eq(nodes.id, nodeId), sql`${nodes.state} <> 'retired'`));
  return row?.hash;
}

/** The node whose agent has this secret, if any. */
export async function findNodeBySecretHash(q: Queryable, hash: Buffer): Promise<string | undefined> {
  const [row] = await q.select({ id: nodes.id }).from(nodes).where(eq(nodes.agentSecretHash, hash)).limit(1);
  return row?.id;
}

export interface NodeFilter {
  readonly state?: NodeView['state'] | undefined;
  readonly sku?: string | undefined;
  readonly occupancy?: NodeView['occupancy'] | undefined;
}

// Names are written out: drizzle drops the table of a column where a select has only one.
const taken = sql`exists (select 1 from placements where placements.node_id = nodes.id)`;
const columns = {
  node: nodes,
  taken: sql<boolean>`${taken}`,
  quarantined: sql<number>`(select count(*)::int from placements
    where placements.node_id = nodes.id and placements.quarantined_at is not null)`,
};

/** Nodes by name, after `afterName`; one more than `limit` when there are more. */
export async function listNodeViews(
  q: Queryable,
  filter: NodeFilter,
  afterName: string | undefined,
  limit: number,
): Promise<NodeView[]> {
  const conditions: (SQL | undefined)[] = [
    filter.state === undefined ? undefined : eq(nodes.state, filter.state),
    filter.sku === undefined ? undefined : eq(nodes.sku, filter.sku),
    filter.occupancy === undefined ? undefined : filter.occupancy === 'free' ? sql`not ${taken}` : taken,
    afterName === undefined ? undefined : gt(nodes.name, afterName),
  ];
  const rows = await q
    .select(columns)
    .from(nodes)
    .where(and(...conditions))
    .orderBy(asc(nodes.name))
    .limit(limit + 1);
  return rows.map(view);
}

/** One node. */
export async function getNodeView(q: Queryable, id: string): Promise<NodeView | undefined> {
  const [row] = await q.select(columns).from(nodes).where(eq(nodes.id, id));
  return row === undefined ? undefined : view(row);
}

function view(row: { node: typeof nodes.$inferSelect; taken: boolean; quarantined: number }): NodeView {
  const { node } = row;
  return {
    id: node.id,
    name: node.name,
    sku: node.sku,
    state: node.state,
    occupancy: row.taken ? 'allocated' : 'free',
    slot_count: node.slotCount,
    slots_quarantined: row.quarantined,
    ssh_host: node.sshHost,
    ssh_port: node.sshPort,
    last_contact_at: node.lastContactAt?.toISOString() ?? null,
    created_at: node.createdAt.toISOString(),
  };
}
