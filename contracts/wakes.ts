/** Redis channels that wake whoever waits for a committed fact. A lost wake costs time, never the fact. */
export const wakeChannels = {
  /** Message: partition numbers, separated by commas. */
  outbox: 'outbox',
  /** Message: a node's id. */
  nodeTask: 'node-task',
  /** Message: a `LiveNotification`; `notificationChannel` names the channel of a recipient. */
  notification: 'notification',
} as const;

/** The channel of one recipient: a user's id, or the operators'. */
export const notificationChannel = (recipient: string): string => `${wakeChannels.notification}:${recipient}`;
