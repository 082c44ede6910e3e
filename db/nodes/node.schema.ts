import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  pgEnum,
  pgTable,
  primaryKey,
  text,
  uuid,
} from 'drizzle-orm/pg-core';
import { nodeStates } from '../../contracts/nodes/node.api.ts';
import { bytea, instant } from '../columns.ts';

export const skus = pgTable(
  'skus',
  {
    code: text('code').primaryKey(),
    title: text('title').notNull(),
    gpuModel: text('gpu_model').notNull(),
    gpuCount: integer('gpu_count').notNull(),
    cpuCores: integer('cpu_cores').notNull(),
    memoryGib: integer('memory_gib').notNull(),
    /** Price of one hour in minor units. */
    pricePerHourMinor: bigint('price_per_hour_minor', { mode: 'number' }).notNull(),
    currency: text('currency').notNull(),
    /** False hides it from the catalogue and refuses new allocations. */
    offered: boolean('offered').notNull().default(true),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    check('skus_price', sql`${t.pricePerHourMinor} >= 0`),
    check('skus_currency', sql`${t.currency} ~ '^[A-Z]{3}$'`),
  ],
);

export const nodeState = pgEnum('node_state', nodeStates);

export const nodes = pgTable(
  'nodes',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull().unique(),
    sku: text('sku')
      .notNull()
      .references(() => skus.code),
    state: nodeState('state').notNull(),
    /** Device slots; a whole node takes them all. */
    slotCount: integer('slot_count').notNull(),
    sshHost: text('ssh_host').notNull(),
    sshPort: integer('ssh_port').notNull(),
    /** sha256 of the agent's secret. */
    agentSecretHash: bytea('agent_secret_hash').notNull(),
    /** Last fencing token given for this node. */
    fence: bigint('fence', { mode: 'number' }).notNull().default(0),
    lastContactAt: instant('last_contact_at'),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    index('nodes_sku_state').on(t.sku, t.state),
    index('nodes_agent_secret_hash').on(t.agentSecretHash),
    check('nodes_slot_count', sql`${t.slotCount} between 1 and 1024`),
  ],
);

/**
 * Occupancy: one row per taken device slot. The primary key is what keeps a slot from being given twice; a row goes
 * away only with the clean proof of its slot.
 */
export const placements = pgTable(
  'placements',
  {
    nodeId: uuid('node_id')
      .notNull()
      .references(() => nodes.id),
    slot: integer('slot').notNull(),
    allocationId: uuid('allocation_id').notNull(),
    takenAt: instant('taken_at').notNull(),
    /** Set when the slot could not be proven clean: nobody gets it until an operator has looked. */
    quarantinedAt: instant('quarantined_at'),
  },
  (t) => [primaryKey({ columns: [t.nodeId, t.slot] }), index('placements_allocation_id').on(t.allocationId)],
);
