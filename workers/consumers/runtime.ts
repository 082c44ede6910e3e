import { Events, type JetStreamClient, type JetStreamManager, type JsMsg, type NatsConnection } from 'nats';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { StreamOptions } from '../../activities/platform/nats.ts';
import type { Database } from '../../db/client.ts';
import type { ArrivedLetter } from '../../db/ops/dead-letter.store.ts';
import { originalSubject, saveAbandoned } from './advisories.ts';
import { defaultBackoff, pauseAfter, type Backoff } from './backoff.ts';
import { readLetter } from './dead-letters.ts';
import {
  bury,
  deliver,
  holdThroughOutages,
  type Around,
  type DeliveryDeps,
  type Outcome,
} from './delivery.ts';
import { DurableLoop, quietly } from './durable-loop.ts';
import { ConsumerMetrics } from './metrics.ts';
import { Outage } from './outage.ts';
import { planDurables, streamOf, type Durable } from './plan.ts';
import { restore, sampleLag } from './recovery.ts';
import type { Subscription } from './subscription.ts';

const restoreRetryMs = 1000;
const lagEveryMs = 15_000;

export interface RuntimeDeps {
  readonly db: Database;
  readonly nc: NatsConnection;
  readonly log: Logger;
  readonly subscriptions: readonly Subscription[];
  /** Writes a dead letter down; idempotent. */
  readonly writeDown: (letter: ArrivedLetter) => Promise<void>;
  /** Rejects while what commands are sent to is away. */
  readonly probeTarget: () => Promise<void>;
  readonly around?: (of: Around, run: () => Promise<void>) => Promise<void>;
}

export interface RuntimeOptions {
  readonly streams: Omit<StreamOptions, 'apply'>;
  readonly backoff?: Backoff;
  /** Messages of one durable in hand at once. */
  readonly slots?: number;
  /** Stream of a subject, where it is not the contract's. */
  readonly streamOf?: (subject: string) => string;
}

/**
 * All durable consumers of a process: pulls, hands to the subscriptions, acknowledges, buries. Any number of processes
 * share the durables. Order among the messages of one subject is not promised (nor among subjects: each has a consumer
 * of its own), so effects hold in any order.
 */
export class ConsumerRuntime {
  readonly metrics = new ConsumerMetrics();
  readonly durables: readonly Durable[];
  private readonly deps: RuntimeDeps;
  private readonly options: Required<Pick<RuntimeOptions, 'backoff' | 'slots'>> & RuntimeOptions;
  private readonly js: JetStreamClient;
  private readonly database: Outage;
  private readonly target: Outage;
  private loops: DurableLoop[] = [];
  private restoring: Promise<void> | undefined;
  private readonly timers: NodeJS.Timeout[] = [];
  private stopping = false;
  private connected = true;
  private started = false;

  constructor(deps: RuntimeDeps, options: RuntimeOptions) {
    this.deps = deps;
    this.options = { backoff: defaultBackoff, slots: 16, ...options };
    this.js = deps.nc.jetstream();
    this.durables = planDurables(deps.subscriptions, options.streamOf ?? streamOf);
    this.metrics.expect(this.durables.map((one) => one.declared.name));
    const changed = (name: string, away: boolean) => {
      this.metrics.reachable(name, !away);
      deps.log.warn({ system: name, away }, away ? 'deliveries are held' : 'deliveries go on');
    };
    const askDatabase = async () => void (await deps.db.q.execute('select 1'));
    this.database = new Outage('database', askDatabase, changed);
    this.target = new Outage('engine', deps.probeTarget, changed);
    for (const system of ['database', 'engine', 'nats']) this.metrics.reachable(system, true);
    void this.followConnection();
  }

  /** Reconciles streams and consumers, waits for whatever is away, and begins to pull. */
  async start(): Promise<void> {
    // A process that starts in an outage takes nothing in hand before it is over.
    await this.deps.db.q.execute('select 1').catch(() => this.database.met());
    await this.restored(false);
    if (this.stopping) return;
    const jsm = await this.deps.nc.jetstreamManager();
    this.loops = this.durables.map((durable) => this.loopOf(durable, jsm));
    for (const loop of this.loops) loop.start();
    this.started = true;
    this.timers.push(setInterval(() => void this.sample(), lagEveryMs));
  }

  /** False while deliveries are held. */
  isReady(): boolean {
    return this.started && !this.stopping && this.connected && !this.database.isAway();
  }

  /** Stops pulling, lets handlers end within the time, and gives the rest back. */
  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    for (const timer of this.timers) clearInterval(timer);
    this.database.close();
    this.target.close();
    await Promise.all(this.loops.map((loop) => loop.stop(graceMs)));
  }

  private async followConnection(): Promise<void> {
    for await (const status of this.deps.nc.status()) {
      if (status.type !== Events.Disconnect && status.type !== Events.Reconnect) continue;
      this.connected = status.type === Events.Reconnect;
      this.metrics.reachable('nats', this.connected);
    }
  }

  private loopOf(durable: Durable, jsm: JetStreamManager): DurableLoop {
    const { declared } = durable;
    const handle = this.handlerOf(durable, jsm);
    return new DurableLoop(declared, {
      js: this.js,
      slots: this.options.slots,
      handle: async (message) => {
        const startedAt = performance.now();
        const outcome = await handle(message);
        this.metrics.delivered(
          declared.name,
          outcome,
          message.info.deliveryCount,
          performance.now() - startedAt,
        );
      },
      ready: async () => {
        await this.database.passed();
        if (sendsCommands(durable)) await this.target.passed();
      },
      failed: async (consumer, error) => {
        this.deps.log.warn(
          { consumer, err: error },
          'a durable cannot be pulled: looking whether it is there',
        );
        await this.restored(true);
      },
    });
  }

  private handlerOf(durable: Durable, jsm: JetStreamManager): (message: JsMsg) => Promise<Outcome> {
    const { maxDeliver } = durable.declared;
    const deps = this.deliveryDeps();
    switch (durable.kind) {
      case 'subject':
        return (message) => deliver(deps, { message, maxDeliver, subscription: durable.subscription });
      case 'replays':
        return (message) => this.replay(deps, durable, message);
      case 'dead-letters':
        return (message) =>
          this.desk(deps, message, () =>
            this.deps.writeDown(
              readLetter({
                subject: message.subject,
                seq: message.seq,
                data: message.data,
                headers: message.headers,
                storedAt: new Date(message.info.timestampNanos / 1e6),
              }),
            ),
          );
      case 'advisories':
        return (message) =>
          this.desk(deps, message, () =>
            saveAbandoned(
              { js: this.js, jsm, log: this.deps.log, durables: this.durables, buried: deps.buried },
              message.data,
            ),
          );
    }
  }

  private deliveryDeps(): DeliveryDeps {
    const { db, log, around } = this.deps;
    return {
      db,
      log,
      js: this.js,
      backoff: this.options.backoff,
      database: this.database,
      target: this.target,
      isStopping: () => this.stopping,
      buried: (consumer, reason) => this.metrics.buried(consumer, reason),
      ...(around === undefined ? {} : { around }),
    };
  }

  private async replay(
    deps: DeliveryDeps,
    durable: Extract<Durable, { kind: 'replays' }>,
    message: JsMsg,
  ): Promise<Outcome> {
    const { group, subscriptions } = durable;
    const subject = originalSubject(group, message.subject);
    const subscription = subscriptions.get(subject);
    if (subscription !== undefined) {
      return await deliver(deps, { message, subscription, maxDeliver: durable.declared.maxDeliver });
    }
    const detail = `${group} has no consumer of the subject`;
    return await bury(
      deps,
      { message, group },
      { subject, reason: 'unknown_type', errorCode: 'unknown_type', detail },
    );
  }

  /** The desk's own messages have nowhere else to go: they are tried until it works. */
  private desk(deps: DeliveryDeps, message: JsMsg, write: () => Promise<void>): Promise<Outcome> {
    const work = async (): Promise<Outcome> => {
      await write();
      quietly(() => message.ack());
      return 'applied';
    };
    const failed = (error: unknown): Promise<Outcome> => {
      deps.log.warn({ subject: message.subject, err: error }, 'the DLQ desk will try again');
      quietly(() => message.nak(pauseAfter(message.info.deliveryCount, deps.backoff)));
      return Promise.resolve('failed');
    };
    return holdThroughOutages(deps, message, work, failed);
  }

  /** One restoration at a time, whoever asks; tried until it works or this ends. */
  private restored(loopsRun: boolean): Promise<void> {
    this.restoring ??= this.restore(loopsRun).finally(() => (this.restoring = undefined));
    return this.restoring;
  }

  private async restore(loopsRun: boolean): Promise<void> {
    const { db, nc, log } = this.deps;
    while (!this.stopping) {
      try {
        const { durables, metrics } = this;
        const made = await restore({ db, nc, log, durables, metrics, streams: this.options.streams });
        if (loopsRun && made > 0) this.metrics.madeAgain(made);
        return;
      } catch (error) {
        log.warn({ err: error }, 'streams and consumers cannot be reconciled yet');
        await delay(restoreRetryMs);
      }
    }
  }

  private async sample(): Promise<void> {
    if (!this.connected) return;
    try {
      await sampleLag(this.deps.nc, this.durables, this.metrics);
    } catch {
      // The next sample is soon; a stream that is gone is noticed by its loops.
    }
  }
}

function sendsCommands(durable: Durable): boolean {
  if (durable.kind === 'subject') return durable.subscription.kind === 'command';
  return (
    durable.kind === 'replays' && [...durable.subscriptions.values()].some((one) => one.kind === 'command')
  );
}
