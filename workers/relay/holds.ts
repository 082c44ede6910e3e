const firstBackoffMs = 100;
const maxBackoffMs = 2000;
/** Aggregates behind failures on one subject that are repeated at a time: a silent stream gets no more than these. */
const repeatsPerSubject = 10;

/** Wait before the next attempt, in ms: 100, doubling to 2000. */
export const backoffMs = (attempts: number): number =>
  Math.min(firstBackoffMs * 2 ** Math.min(attempts - 1, 5), maxBackoffMs);

/** A row that may be stored although nobody said so. */
export interface Doubt {
  /** When it was sent first, on the monotonic clock. */
  readonly since: number;
  /** Where it is, if it is stored. */
  readonly subjects: readonly string[];
}

interface Hold {
  attempts: number;
  retryAt: number;
  subject: string;
  doubt: Doubt | undefined;
}

/** Says whether something of the aggregate is on its way. */
interface Flying {
  has(aggregateId: string): boolean;
}

/**
 * The aggregates of a partition that wait behind a failed publish, each until its time has come.
 *
 * One whose row may have been stored longer ago than JetStream is sure to remember its message id is overdue: it must
 * not be repeated before the streams were searched for it.
 */
export class Holds {
  private readonly byAggregate = new Map<string, Hold>();
  private readonly safeMs: number;

  /** @param safeMs how long a row may be repeated after it was sent first. */
  constructor(safeMs: number) {
    this.safeMs = safeMs;
  }

  get size(): number {
    return this.byAggregate.size;
  }

  ids(): string[] {
    return [...this.byAggregate.keys()];
  }

  /** The server said no: the row is surely not stored by this attempt. @returns the attempts so far. */
  refused(aggregateId: string, subject: string): number {
    return this.fail(aggregateId, subject).attempts;
  }

  /** No answer to what was sent at `sentAt`. @returns the attempts so far. */
  unanswered(aggregateId: string, subject: string, sentAt: number): number {
    const hold = this.fail(aggregateId, subject);
    hold.doubt ??= { since: sentAt, subjects: [subject] };
    return hold.attempts;
  }

  private fail(aggregateId: string, subject: string): Hold {
    const hold = this.byAggregate.get(aggregateId) ?? { attempts: 0, retryAt: 0, subject, doubt: undefined };
    hold.attempts += 1;
    hold.retryAt = performance.now() + backoffMs(hold.attempts);
    hold.subject = subject;
    this.byAggregate.set(aggregateId, hold);
    return hold;
  }

  /** Somebody else may have stored rows of it: it waits until the streams were searched. */
  doubted(aggregateId: string, doubt: Doubt): void {
    const hold = this.byAggregate.get(aggregateId);
    const [subject = ''] = doubt.subjects;
    if (hold === undefined) this.byAggregate.set(aggregateId, { attempts: 0, retryAt: 0, subject, doubt });
    else hold.doubt = doubt;
  }

  /** Its first row is stored. What is overdue waits on: more rows than that one may be in doubt. */
  stored(aggregateId: string): void {
    if (!this.isOverdue(aggregateId)) this.byAggregate.delete(aggregateId);
  }

  /** It has no row left. */
  drop(aggregateId: string): void {
    this.byAggregate.delete(aggregateId);
  }

  /** Nobody needs to wait for its time any more. */
  retryNow(): void {
    for (const hold of this.byAggregate.values()) hold.retryAt = 0;
  }

  isOverdue(aggregateId: string): boolean {
    const hold = this.byAggregate.get(aggregateId);
    return hold !== undefined && this.overdueHold(hold);
  }

  private overdueHold({ doubt }: Hold): boolean {
    return doubt !== undefined && performance.now() - doubt.since >= this.safeMs;
  }

  /** What the streams have to be searched for. */
  overdue(flying: Flying): Map<string, Doubt> {
    const found = new Map<string, Doubt>();
    for (const [aggregateId, hold] of this.byAggregate) {
      if (hold.doubt === undefined || flying.has(aggregateId) || !this.overdueHold(hold)) continue;
      found.set(aggregateId, hold.doubt);
    }
    return found;
  }

  /** The streams were searched, but for the subjects in `unread`: what is stored is marked. */
  searched(doubts: ReadonlyMap<string, Doubt>, unread: ReadonlySet<string>): void {
    for (const [aggregateId, doubt] of doubts) {
      const hold = this.byAggregate.get(aggregateId);
      if (hold?.doubt !== doubt || doubt.subjects.some((subject) => unread.has(subject))) continue;
      hold.doubt = undefined;
    }
  }

  /** Those whose time has come, the longest wait first, a few of each subject. */
  due(flying: Flying): string[] {
    const now = performance.now();
    const used = this.flyingPerSubject(flying);
    return this.repeatable(flying)
      .filter(([, hold]) => hold.retryAt <= now)
      .sort(([, a], [, b]) => a.retryAt - b.retryAt)
      .filter(([, { subject }]) => {
        const count = (used.get(subject) ?? 0) + 1;
        used.set(subject, count);
        return count <= repeatsPerSubject;
      })
      .map(([aggregateId]) => aggregateId);
  }

  /** When the next one is due on a subject that has not enough repeats on their way; Infinity when none is. */
  nextAt(flying: Flying): number {
    const used = this.flyingPerSubject(flying);
    const free = this.repeatable(flying).filter(
      ([, { subject }]) => (used.get(subject) ?? 0) < repeatsPerSubject,
    );
    return free.reduce((least, [, { retryAt }]) => Math.min(least, retryAt), Infinity);
  }

  private repeatable(flying: Flying): [string, Hold][] {
    return [...this.byAggregate].filter(
      ([aggregateId, hold]) => !flying.has(aggregateId) && !this.overdueHold(hold),
    );
  }

  private flyingPerSubject(flying: Flying): Map<string, number> {
    const used = new Map<string, number>();
    for (const [aggregateId, { subject }] of this.byAggregate) {
      if (flying.has(aggregateId)) used.set(subject, (used.get(subject) ?? 0) + 1);
    }
    return used;
  }
}
