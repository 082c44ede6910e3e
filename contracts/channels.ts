/** Every channel of the system: NATS subjects and WebSockets. */
import { allocationChannels } from './allocations/allocation.events.ts';
import { appEntitlementChannels } from './apps/app-entitlement.events.ts';
import { appInstanceChannels } from './apps/app-instance.events.ts';
import { sharedRuntimeChannels } from './apps/shared-runtime.events.ts';
import { artifactChannels } from './artifacts/artifact.events.ts';
import { accountWatchChannels } from './billing/account-watch.events.ts';
import { usageChannels } from './billing/usage.events.ts';
import type { AnyChannel, SocketChannel } from './envelope.ts';
import { notificationSocket } from './ops/notification.events.ts';
import { paymentReconciliationChannels } from './payments/payment-reconciliation.events.ts';
import { paymentSessionChannels } from './payments/payment-session.events.ts';
import { storageAttachmentChannels } from './storage/storage-attachment.events.ts';
import { terminalSocket } from './terminal/terminal-session.events.ts';

/** The channels on NATS. */
export const channels = [
  ...accountWatchChannels,
  ...usageChannels,
  ...paymentSessionChannels,
  ...paymentReconciliationChannels,
  ...allocationChannels,
  ...storageAttachmentChannels,
  ...appEntitlementChannels,
  ...appInstanceChannels,
  ...sharedRuntimeChannels,
  ...artifactChannels,
] as const;

/** Subject of a declared channel. */
export type Subject = (typeof channels)[number]['subject'];

/** Their subjects, in order of declaration. */
export const subjects: readonly Subject[] = channels.map(({ subject }) => subject);

const bySubject: ReadonlyMap<string, AnyChannel> = new Map(channels.map((one) => [one.subject, one]));

/** The channel of a subject, or undefined when none is declared. */
export const channelOf = (subject: string): AnyChannel | undefined => bySubject.get(subject);

/** The WebSockets. */
export const sockets: readonly SocketChannel[] = [terminalSocket, notificationSocket];
