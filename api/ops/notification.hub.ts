/**
 * Fans stored notifications out to the sockets of this process. The table is the truth: a message on Redis saves the
 * look into it only when it is exactly the next one, and every few seconds one statement finds whoever missed one.
 */
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { liveNotificationSchema, type LiveNotification } from '../../contracts/ops/notification.api.ts';
import type { UserNotification } from '../../contracts/ops/notification.events.ts';
import { operatorsRecipient } from '../../contracts/ops/notification.ts';
import { notificationChannel, wakeChannels } from '../../contracts/wakes.ts';
import type { Db } from '../../db/client.ts';
import {
  notificationHeads,
  readNotificationsAfter,
  userNotification,
  type NotificationPosition,
  type NotificationViewer,
} from '../../db/ops/notification.views.ts';
import { Slots } from './notification.slots.ts';

/** A socket, as the hub sees it. */
export interface Receiver {
  readonly viewer: NotificationViewer;
  /** Sends at once; false when the socket is closed or its client is too slow, which closes it. */
  send(frame: string): boolean;
  /** Sends and waits until all is on its way; false as above. */
  sendAll(frames: readonly string[]): Promise<boolean>;
}

/** A receiver that follows its notifications. */
export interface Feed {
  /** No more is sent after this. */
  leave(): void;
}

export interface HubDeps {
  readonly q: Db;
  /** Shared with others: only channels of notifications are looked at. */
  readonly subscriber: Redis;
  readonly sweepMs: number;
  readonly log: Logger;
  /** Called for each look into the table that a live message made necessary. */
  readonly onGap: () => void;
}

interface Following {
  readonly receiver: Receiver;
  position: { own: number; operators: number } | undefined;
  /** Reads from the table; live messages only ask for another look. */
  reading: boolean;
  again: boolean;
  left: boolean;
}

const pageSize = 50;
const readsAtOnce = 6;
/** How long a new socket waits for Redis; without it the sweep serves. */
const subscribeMs = 1000;

const frameOf = (notification: UserNotification): string => JSON.stringify(notification);

export class NotificationHub {
  readonly #deps: HubDeps;
  readonly #followers = new Map<string, Set<Following>>();
  readonly #reads = new Slots(readsAtOnce);
  readonly #timer: NodeJS.Timeout;
  #alerts: LiveNotification[] = [];
  #alerting = false;
  #sweeping = false;

  constructor(deps: HubDeps) {
    this.#deps = deps;
    deps.subscriber.on('message', (channel: string, text: string) => this.#onMessage(channel, text));
    deps.subscriber.on('ready', () => this.#onReady());
    this.#timer = setInterval(() => void this.#sweep(), deps.sweepMs);
    this.#timer.unref();
  }

  /**
   * Sends everything after a position, then what is new, without gap or repeat.
   * @param locate gives the position; called when live messages are being received already.
   * @param replay false when nothing is stored after the position.
   * @throws whatever `locate` throws; then nothing is followed.
   */
  async join(
    receiver: Receiver,
    locate: () => Promise<NotificationPosition>,
    replay: boolean,
  ): Promise<Feed> {
    const one: Following = { receiver, position: undefined, reading: false, again: false, left: false };
    const feed: Feed = { leave: () => this.#leave(one) };
    await this.#follow(one);
    try {
      one.position = { ...(await locate()) };
    } catch (error) {
      this.#leave(one);
      throw error;
    }
    if (replay || one.again) void this.#read(one);
    return feed;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const all of this.#followers.values()) for (const one of all) one.left = true;
    this.#followers.clear();
  }

  async #follow(one: Following): Promise<void> {
    const { subscriber } = this.#deps;
    const fresh: string[] = [];
    for (const recipient of recipientsOf(one)) {
      const all = this.#followers.get(recipient);
      if (all === undefined) fresh.push(notificationChannel(recipient));
      this.#followers.set(recipient, (all ?? new Set()).add(one));
    }
    if (subscriber.status !== 'ready') return; // `#onReady` subscribes
    // Also when another socket asked already: its request may still be on the way.
    const channels = fresh.length > 0 ? fresh : recipientsOf(one).map(notificationChannel);
    const subscribed = subscriber.subscribe(...channels).then(
      () => undefined,
      () => undefined,
    );
    await within(subscribed, subscribeMs);
  }

  #leave(one: Following): void {
    one.left = true;
    for (const recipient of recipientsOf(one)) {
      const all = this.#followers.get(recipient);
      all?.delete(one);
      if (all === undefined || all.size > 0) continue;
      this.#followers.delete(recipient);
      const { subscriber } = this.#deps;
      if (subscriber.status !== 'ready') continue;
      subscriber.unsubscribe(notificationChannel(recipient)).catch(() => undefined);
    }
  }

  /** After a reconnect anything may have been missed. */
  #onReady(): void {
    const channels = [...this.#followers.keys()].map(notificationChannel);
    const subscribed =
      channels.length === 0 ? Promise.resolve() : this.#deps.subscriber.subscribe(...channels);
    subscribed.then(
      () => this.#sweep(),
      () => undefined,
    );
  }

  #onMessage(channel: string, text: string): void {
    if (!channel.startsWith(`${wakeChannels.notification}:`)) return;
    const recipient = channel.slice(wakeChannels.notification.length + 1);
    const all = this.#followers.get(recipient);
    if (all === undefined) return;
    const live = parse(text);
    if (live?.recipient !== recipient) {
      this.#deps.onGap();
      for (const one of all) void this.#read(one);
    } else if (recipient === operatorsRecipient) {
      this.#alerts.push(live);
      if (!this.#alerting) void this.#deliverAlerts();
    } else {
      const frame = frameOf(live.notification);
      for (const one of all) this.#deliverOwn(one, live, frame);
    }
  }

  #deliverOwn(one: Following, live: LiveNotification, frame: string): void {
    if (one.position === undefined || one.reading) {
      one.again = true;
      return;
    }
    if (live.seq <= one.position.own) return;
    const alertsSeen = !one.receiver.viewer.isAdmin || one.position.operators >= live.operators_seq;
    if (live.seq !== one.position.own + 1 || !alertsSeen) {
      this.#deps.onGap();
      void this.#read(one);
    } else if (one.receiver.send(frame)) one.position.own = live.seq;
  }

  /**
   * Alerts go out in order, many at a time. An admin gets them at once only when their own list holds nothing that
   * comes before: the numbers are read after the alerts were committed, so they tell. Without them the table is read.
   */
  async #deliverAlerts(): Promise<void> {
    this.#alerting = true;
    while (this.#alerts.length > 0) {
      const batch = this.#alerts.toSorted((a, b) => a.seq - b.seq);
      this.#alerts = [];
      const framed = batch.map((live) => ({ live, frame: frameOf(live.notification) }));
      const admins = [...(this.#followers.get(operatorsRecipient) ?? [])];
      const users = [...new Set(admins.map((one) => one.receiver.viewer.userId))];
      const heads = await this.#heads(users);
      for (const one of admins) {
        const ownHead = heads === undefined ? undefined : (heads.get(one.receiver.viewer.userId) ?? 0);
        this.#deliverBatch(one, framed, ownHead);
      }
    }
    this.#alerting = false;
  }

  #deliverBatch(
    one: Following,
    batch: readonly { readonly live: LiveNotification; readonly frame: string }[],
    ownHead: number | undefined,
  ): void {
    for (const { live, frame } of batch) {
      if (one.position === undefined || one.reading) {
        one.again = true;
        return;
      }
      if (live.seq <= one.position.operators) continue;
      if (live.seq !== one.position.operators + 1 || one.position.own !== ownHead) {
        this.#deps.onGap();
        void this.#read(one);
        return;
      }
      if (!one.receiver.send(frame)) return;
      one.position.operators = live.seq;
    }
  }

  /** Sends what the table has after the position. One reader per socket; whoever comes meanwhile asks for another look. */
  async #read(one: Following): Promise<void> {
    if (one.position === undefined || one.reading) {
      one.again = true;
      return;
    }
    one.reading = true;
    try {
      do {
        one.again = false;
        while (await this.#readPage(one, one.position));
      } while (one.again && !one.left);
    } catch (err) {
      // The sweep tries again: the socket stays where it is.
      this.#deps.log.warn({ err }, 'notifications could not be read');
    } finally {
      one.reading = false;
    }
  }

  /** @returns whether there may be more. */
  async #readPage(one: Following, position: { own: number; operators: number }): Promise<boolean> {
    if (one.left) return false;
    const { viewer } = one.receiver;
    const rows = await this.#reads.run(() =>
      readNotificationsAfter(this.#deps.q, viewer, position, pageSize),
    );
    if (rows.length === 0 || one.left) return false;
    const sent = await one.receiver.sendAll(rows.map((row) => frameOf(userNotification(row))));
    if (!sent) {
      one.left = true;
      return false;
    }
    for (const row of rows) {
      if (row.audience === 'operators') position.operators = row.seq;
      else position.own = row.seq;
    }
    return rows.length === pageSize;
  }

  /** Finds whoever is behind, for whatever reason. */
  async #sweep(): Promise<void> {
    if (this.#sweeping || this.#followers.size === 0) return;
    this.#sweeping = true;
    try {
      const heads = await this.#heads([...this.#followers.keys()]);
      for (const [recipient, all] of heads === undefined ? [] : this.#followers) {
        const head = heads?.get(recipient) ?? 0;
        for (const one of all) {
          const seen = recipient === operatorsRecipient ? one.position?.operators : one.position?.own;
          if (seen !== undefined && seen < head) void this.#read(one);
        }
      }
    } finally {
      this.#sweeping = false;
    }
  }

  async #heads(recipients: readonly string[]): Promise<ReadonlyMap<string, number> | undefined> {
    try {
      return await this.#reads.run(() => notificationHeads(this.#deps.q, recipients));
    } catch (err) {
      this.#deps.log.warn({ err }, 'notifications could not be looked for');
      return undefined;
    }
  }
}

const recipientsOf = (one: Following): string[] =>
  one.receiver.viewer.isAdmin
    ? [one.receiver.viewer.userId, operatorsRecipient]
    : [one.receiver.viewer.userId];

function parse(text: string): LiveNotification | undefined {
  try {
    return liveNotificationSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The first of both: the promise, or the time. */
async function within(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
