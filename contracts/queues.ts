/** Names that the worker, the client and `temporal-dev.yaml` share; a test holds the three together. */
export const taskQueues = { provisioning: 'provisioning', ops: 'ops' } as const;
export type TaskQueue = (typeof taskQueues)[keyof typeof taskQueues];

/** The six search attributes of every run (all Keyword). */
export const searchAttributes = {
  orgId: 'OrgId',
  projectId: 'ProjectId',
  nodeId: 'NodeId',
  kind: 'Kind',
  state: 'State',
  correlationId: 'CorrelationId',
} as const;
