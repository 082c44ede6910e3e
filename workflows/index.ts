/** Entry of the workflow bundle: every workflow type, and nothing else. */
export { allocation } from './allocations/allocation.workflow.ts';
export { dlqReplay } from './ops/dlq-replay.workflow.ts';
