/** Every subscription of the platform, each with the stores and clients that it needs. */
import type { Client } from '@temporalio/client';
import type { Database } from '../../db/client.ts';
import { startRun } from '../reconcilers/missing-runs.ts';
import { allocationSubscriptions } from './allocations/allocation.consumer.ts';
import { meteringSubscriptions } from './billing/metered-allocation.consumer.ts';
import { eventLogSubscriptions } from './ops/event-log.consumer.ts';
import { notificationSubscriptions, type NotificationConsumerDeps } from './ops/notification.consumer.ts';
import type { Subscription } from './subscription.ts';

export interface ConsumerParts {
  readonly db: Database;
  readonly temporal: Client;
  readonly notifications: NotificationConsumerDeps;
}

/** All subscriptions; their durables are what JetStream has. */
export const allSubscriptions = (parts: ConsumerParts): Subscription[] => [
  ...allocationSubscriptions({ db: parts.db, temporal: parts.temporal, startRun }),
  ...meteringSubscriptions(),
  ...notificationSubscriptions(parts.notifications),
  ...eventLogSubscriptions(),
];
