/** Plain facts of notifications, shared by consumers, tables and API. */
export const notificationSeverities = ['info', 'warning', 'error'] as const;
export type NotificationSeverity = (typeof notificationSeverities)[number];

export const notificationTypes = ['low_balance_warning', 'balance_depleted', 'info'] as const;
export type NotificationType = (typeof notificationTypes)[number];

export const notificationAudiences = ['user', 'operators'] as const;

/** Recipient of what concerns all operators. */
export const operatorsRecipient = '00000000-0000-0000-0000-000000000001';

/** What the server of `/ws/notifications` speaks; a browser offers it beside its token. */
export const notificationProtocol = 'gpuaas.notifications.v1';

/** Path of the socket on the public listener. */
export const notificationPath = '/ws/notifications';

/** Why the server closed a socket. From 4400 on: 4000 and the HTTP status that the same fault has. */
export const notificationCloses = {
  /** The process drains: connect again, another replica answers. */
  goingAway: 1001,
  /** The client sent a message. */
  policyViolation: 1008,
  internalError: 1011,
  /** Something is away, the process is full, or the client read too slowly: connect again with `after`. */
  tryAgainLater: 1013,
  /** The address or the offered protocols are wrong. */
  badRequest: 4400,
  /** No token, a wrong one, or it has expired. */
  unauthenticated: 4401,
  /** The origin, the role or the organisation does not permit it. */
  forbidden: 4403,
  /** `after` is no notification that this caller has: read the list, then connect without it. */
  notFound: 4404,
  /** Too many connections of this user, or too many attempts. */
  tooMany: 4429,
} as const;
