/** What the replay of dead letters needs of NATS; the composition root puts the adapter in. */

/** A dead letter on its way back to its consumer. */
export interface ReplayMessage {
  /** Of the one consumer group that gave it up. */
  readonly subject: string;
  /** JetStream drops a second message of the same id. */
  readonly messageId: string;
  /** Which replay of the letter it is, from 1. */
  readonly attempt: number;
  /** The bytes that the producer wrote. */
  readonly body: Uint8Array;
  readonly correlationId: string | null;
  /** The letter's newest place in the DLQ, and whose letter it is: its trace is read there. */
  readonly dlqSeq: number;
  readonly consumer: string;
}

export interface ReplayPort {
  /** Resolves when JetStream has stored it. @throws when it has not, or nobody can say. */
  publish(message: ReplayMessage): Promise<void>;
  /** Id of the newest message on a subject; undefined when there is none. @throws when JetStream is away. */
  newestOn(subject: string): Promise<string | undefined>;
}
