import { sql } from 'drizzle-orm';
import { bigint, index, integer, jsonb, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import {
  nodeTaskKinds,
  nodeTaskStates,
  type NodeTaskVerdict,
} from '../../contracts/nodes/node-task.tasks.ts';
import { instant } from '../columns.ts';
import { nodes } from './node.schema.ts';

export const nodeTaskKind = pgEnum('node_task_kind', nodeTaskKinds);
export const nodeTaskState = pgEnum('node_task_state', nodeTaskStates);

/** Work for a node, one row per activity of a run. The result is stored once, before the activity is completed. */
export const nodeTasks = pgTable(
  'node_tasks',
  {
    id: uuid('id').primaryKey(),
    nodeId: uuid('node_id')
      .notNull()
      .references(() => nodes.id),
    allocationId: uuid('allocation_id').notNull(),
    kind: nodeTaskKind('kind').notNull(),
    state: nodeTaskState('state').notNull(),
    params: jsonb('params').$type<Record<string, unknown>>().notNull(),
    fence: bigint('fence', { mode: 'number' }).notNull(),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    activityId: text('activity_id').notNull(),
    attempt: integer('attempt').notNull(),
    correlationId: text('correlation_id').notNull(),
    traceparent: text('traceparent'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    offeredAt: instant('offered_at'),
    lastSeenAt: instant('last_seen_at'),
    /** What the agent reported, by the schema of the kind. */
    result: jsonb('result').$type<Record<string, unknown>>(),
    verdict: jsonb('verdict').$type<NodeTaskVerdict>(),
    resultAt: instant('result_at'),
    /** When the activity was told; a stored result without it is completed by the reconciler. */
    completedAt: instant('completed_at'),
  },
  (t) => [
    unique('node_tasks_activity').on(t.workflowId, t.runId, t.activityId),
    index('node_tasks_open')
      .on(t.nodeId)
      .where(sql`state in ('queued', 'offered')`),
    index('node_tasks_uncompleted')
      .on(t.resultAt)
      .where(sql`result_at is not null and completed_at is null`),
    index('node_tasks_allocation_id').on(t.allocationId, t.fence),
  ],
);

export type NodeTaskRow = typeof nodeTasks.$inferSelect;

/** The activity that waits for a task. */
export interface ActivityAddress {
  readonly workflowId: string;
  readonly runId: string;
  readonly activityId: string;
}
