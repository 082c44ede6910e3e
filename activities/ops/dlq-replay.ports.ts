/** What the replay of dead letters needs of NATS; the composition root puts the adapter in. */
import type { ReplayedLetter } from '../../contracts/ops/dead-letter.ts';

export interface ReplayPort {
  /** Resolves when JetStream has stored it. @throws when it has not, or nobody can say. */
  publish(message: ReplayedLetter): Promise<void>;
  /** Id of the newest message on a subject; undefined when there is none. @throws when JetStream is away. */
  newestOn(subject: string): Promise<string | undefined>;
}
