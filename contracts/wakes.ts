/** Redis channels that wake whoever waits for a committed fact. A lost wake costs time, never the fact. */
export const wakeChannels = {
  /** Message: partition numbers, separated by commas. */
  outbox: 'outbox',
  /** Message: a node's id. */
  nodeTask: 'node-task',
} as const;
