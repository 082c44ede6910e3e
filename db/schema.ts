/** Every table, for the migration generator and for queries. */
export * from './allocations/allocation.schema.ts';
export * from './identity/identity.schema.ts';
export * from './nodes/node.schema.ts';
export * from './nodes/node-task.schema.ts';
export * from './ops/platform.schema.ts';
export * from './ops/event.schema.ts';
export * from './ops/dead-letter.schema.ts';
export * from './ops/notification.schema.ts';
export * from './billing/metered-allocation.schema.ts';
