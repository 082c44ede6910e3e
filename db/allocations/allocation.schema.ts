import { index, integer, pgEnum, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { allocationStates } from '../../contracts/allocations/allocation.lifecycle.ts';
import { schedulerTypes } from '../../contracts/allocations/allocation.messages.ts';
import { instant } from '../columns.ts';
import { orgs, projects, users } from '../identity/identity.schema.ts';
import { nodes, skus } from '../nodes/node.schema.ts';

export const allocationState = pgEnum('allocation_state', allocationStates);
export const schedulerType = pgEnum('scheduler_type', schedulerTypes);
export const unblocker = pgEnum('unblocker', ['nobody', 'user', 'admin', 'node', 'platform']);

/** The row is the truth; the run `allocation-<id>` is its driver. */
export const allocations = pgTable(
  'allocations',
  {
    id: uuid('id').primaryKey(),
    orgId: uuid('org_id')
      .notNull()
      .references(() => orgs.id),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id),
    sku: text('sku')
      .notNull()
      .references(() => skus.code),
    schedulerType: schedulerType('scheduler_type').notNull(),
    state: allocationState('state').notNull(),
    /** Number of the last timeline row; given under the row lock. */
    version: integer('version').notNull(),
    nodeId: uuid('node_id')
      .notNull()
      .references(() => nodes.id),
    createOperationId: uuid('create_operation_id').notNull(),
    correlationId: text('correlation_id').notNull(),
    waitingOn: text('waiting_on'),
    deadline: instant('deadline'),
    whoCanUnblock: unblocker('who_can_unblock').notNull(),
    failureReason: text('failure_reason'),
    createdAt: instant('created_at').notNull(),
    stateSince: instant('state_since').notNull(),
    activeAt: instant('active_at'),
    releaseRequestedAt: instant('release_requested_at'),
    /** When the node proved that the tenant's work had stopped. */
    stoppedAt: instant('stopped_at'),
    releasedAt: instant('released_at'),
  },
  (t) => [
    index('allocations_user_id_created_at').on(t.userId, t.createdAt),
    index('allocations_project_id_created_at').on(t.projectId, t.createdAt),
    index('allocations_created_at').on(t.createdAt, t.id),
    index('allocations_state').on(t.state),
    index('allocations_node_id').on(t.nodeId),
  ],
);

export type AllocationRow = typeof allocations.$inferSelect;
