import type { OutboxRow } from '../../db/ops/outbox.store.ts';

/** Why a publish failed. */
export type PublishFailure =
  /** The server said no, or nobody is there to say yes: it is not stored. */
  | 'refused'
  /** No answer: it may be stored. */
  | 'unknown'
  /** The connection is away, or went away before the answer: it may be stored. */
  | 'disconnected';

/** The only error that `EventSink.publish` rejects with. */
export class PublishError extends Error {
  readonly failure: PublishFailure;

  constructor(failure: PublishFailure, cause?: unknown) {
    super(`publish failed: ${failure}`, { cause });
    this.name = 'PublishError';
    this.failure = failure;
  }
}

/** The correlation id of an event; undefined where its body has none, as one that no producer of ours wrote. */
export function correlationOf({ body }: Pick<OutboxRow, 'body'>): string | undefined {
  const whole: unknown = body;
  const given: unknown =
    typeof whole === 'object' && whole !== null ? Reflect.get(whole, 'correlation_id') : undefined;
  return typeof given === 'string' ? given : undefined;
}

/** Where events go. */
export interface EventSink {
  isUp(): boolean;
  /** Called whenever the connection comes back. */
  onUp(listener: () => void): void;
  /**
   * Resolves when the event is stored; `duplicate` when it was before.
   * @throws PublishError
   */
  publish(row: OutboxRow): Promise<{ duplicate: boolean }>;
  /**
   * Hands over, in chunks, the ids of all events stored on the subjects within the last `sinceMs`.
   * @returns the subjects whose stream could not be read to its end; throws only what `handle` throws.
   */
  storedSince(
    subjects: readonly string[],
    sinceMs: number,
    handle: (eventIds: readonly string[]) => Promise<void>,
  ): Promise<readonly string[]>;
}

/** What relays tell each other. Only the fairness of sharing rests on it, never order or ownership. */
export interface PeerNotice {
  readonly owner: string;
  /** `freed`: partitions were given back, whoever has too few may take them. */
  readonly kind: 'alive' | 'leaving' | 'freed';
}

export interface PeerChannel {
  announce(notice: PeerNotice): void;
  onNotice(listener: (notice: PeerNotice) => void): void;
}

export interface RelayLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What the relay counts; every field is a sum since its start. */
export interface RelayCounters {
  stored: number;
  duplicates: number;
  failures: number;
  recovered: number;
  leasesLost: number;
  deleted: number;
}
