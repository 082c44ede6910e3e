/** Plain facts of notifications, shared by consumers, tables and API. */
export const notificationSeverities = ['info', 'warning', 'error'] as const;
export type NotificationSeverity = (typeof notificationSeverities)[number];

export const notificationTypes = ['low_balance_warning', 'balance_depleted', 'info'] as const;
export type NotificationType = (typeof notificationTypes)[number];

export const notificationAudiences = ['user', 'operators'] as const;
export type NotificationAudience = (typeof notificationAudiences)[number];

/** Recipient of what concerns all operators. */
export const operatorsRecipient = '00000000-0000-0000-0000-000000000001';
