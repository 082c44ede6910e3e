import { sql } from 'drizzle-orm';
import { check, index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { instant } from '../columns.ts';

/** The interval in which an allocation is metered, as billing heard of it; once ended it never resumes. */
export const meteredAllocations = pgTable(
  'metered_allocations',
  {
    allocationId: uuid('allocation_id').primaryKey(),
    userId: uuid('user_id').notNull(),
    projectId: uuid('project_id'),
    nodeId: uuid('node_id'),
    /** `active_at`; null when the end was heard of first. */
    startedAt: instant('started_at'),
    endedAt: instant('ended_at'),
    /** Subject of the event that ended it. */
    endedBy: text('ended_by'),
    recordedAt: instant('recorded_at').notNull(),
  },
  (t) => [
    index('metered_allocations_running')
      .on(t.startedAt)
      .where(sql`ended_at is null`),
    check('metered_allocations_end', sql`(${t.endedAt} is null) = (${t.endedBy} is null)`),
  ],
);
