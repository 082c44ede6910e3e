import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer, ConsumerMessages, JetStreamClient, JsMsg } from 'nats';
import type { DurableDeclaration } from '../../activities/platform/nats-consumers.ts';

/** How long one pull request waits at the server. */
const pullMs = 10_000;
const retryMs = 250;
/** An acknowledgement that says "still at it" goes out this many times within `ack_wait`. */
const signsOfLife = 3;

export interface LoopDeps {
  readonly js: JetStreamClient;
  /** Messages in hand at once, at most. */
  readonly slots: number;
  /** Deals with one message, acknowledgement included. When it rejects, a defect, the message is delivered again. */
  readonly handle: (message: JsMsg) => Promise<void>;
  /** Resolves when work may be taken: what handlers need is there. */
  readonly ready: () => Promise<void>;
  /** Pulling failed: the durable or its stream may be gone. Resolves when it makes sense to try again. */
  readonly failed: (name: string, error: unknown) => Promise<void>;
}

/**
 * Pulls messages of one durable consumer, never more than it has slots for. A message in hand is reported as in progress
 * until it is dealt with, however long that takes.
 */
export class DurableLoop {
  readonly declared: DurableDeclaration;
  private readonly deps: LoopDeps;
  private consumer: Consumer | undefined;
  private pulling: ConsumerMessages | undefined;
  private readonly inHand = new Map<JsMsg, Promise<void>>();
  private slotFreed: (() => void) | undefined;
  private stopping = false;
  private running: Promise<void> = Promise.resolve();

  constructor(declared: DurableDeclaration, deps: LoopDeps) {
    this.declared = declared;
    this.deps = deps;
  }

  start(): void {
    this.running = this.run();
  }

  /**
   * Stops pulling and lets what is in hand end.
   * @returns after at most `graceMs`; what still runs then is delivered to somebody else after its `ack_wait`.
   */
  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    this.pulling?.stop();
    this.slotFreed?.();
    const ended = this.running.then(() => Promise.all(this.inHand.values()));
    await Promise.race([ended, delay(graceMs, undefined, { ref: false })]);
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      await this.deps.ready();
      await this.untilHalfFree();
      if (this.stopping) return;
      try {
        await this.pull(this.deps.slots - this.inHand.size);
      } catch (error) {
        this.consumer = undefined;
        if (this.stopping) return;
        await this.deps.failed(this.declared.name, error);
        await delay(retryMs);
      }
    }
  }

  private async pull(max: number): Promise<void> {
    const { stream, name } = this.declared;
    this.consumer ??= await this.deps.js.consumers.get(stream, name);
    this.pulling = await this.consumer.fetch({ max_messages: max, expires: pullMs });
    if (this.stopping) this.pulling.stop();
    for await (const message of this.pulling) this.take(message);
    this.pulling = undefined;
  }

  private take(message: JsMsg): void {
    if (this.stopping) {
      message.nak();
      return;
    }
    const everyMs = this.declared.ackWaitMs / signsOfLife;
    const alive = setInterval(() => quietly(() => message.working()), everyMs);
    const work = this.deps
      .handle(message)
      .catch(() => quietly(() => message.nak(retryMs)))
      .finally(() => {
        clearInterval(alive);
        this.inHand.delete(message);
        this.slotFreed?.();
      });
    this.inHand.set(message, work);
  }

  /** A pull for many is cheaper than many pulls for one. */
  private async untilHalfFree(): Promise<void> {
    while (!this.stopping && this.inHand.size > this.deps.slots / 2) {
      await new Promise<void>((resolve) => (this.slotFreed = resolve));
    }
    this.slotFreed = undefined;
  }
}

/** On a closed connection every acknowledgement throws; the message is delivered again. */
export function quietly(send: () => void): void {
  try {
    send();
  } catch {
    // JetStream repeats what was not acknowledged.
  }
}
