/** A row that was committed, as the writer knows it; nothing here is read through the relay's own queries. */
export interface CommittedEvent {
  readonly eventId: string;
  readonly aggregateId: string;
  readonly aggregateSeq: number;
  readonly position: number;
}

/** A message that the stream holds, in the stream's order. */
export interface StoredEvent {
  readonly seq: number;
  readonly eventId: string;
}

export interface AuditFinding {
  readonly kind: 'nothing-to-audit' | 'lost' | 'stranger' | 'twice' | 'out-of-order';
  readonly eventId: string;
  readonly detail: string;
}

/**
 * Compares what was committed with what the stream holds: nothing lost, nothing twice, nothing made up, in order within
 * each aggregate. An audit of nothing is a finding: it would prove nothing.
 * @returns every finding; none means that the promise was kept.
 */
export function auditEvents(
  committed: readonly CommittedEvent[],
  stored: readonly StoredEvent[],
): AuditFinding[] {
  if (committed.length === 0)
    return [{ kind: 'nothing-to-audit', eventId: '', detail: 'no event was committed' }];
  const known = new Map(committed.map((event) => [event.eventId, event]));
  const seen = new Map<string, number>();
  const last = new Map<string, CommittedEvent>();
  const findings: AuditFinding[] = [];
  for (const { seq, eventId } of [...stored].sort((a, b) => a.seq - b.seq)) {
    const event = known.get(eventId);
    if (event === undefined) {
      findings.push({ kind: 'stranger', eventId, detail: `message ${seq} was never committed` });
      continue;
    }
    const first = seen.get(eventId);
    if (first !== undefined) {
      findings.push({ kind: 'twice', eventId, detail: `messages ${first} and ${seq}` });
      continue;
    }
    seen.set(eventId, seq);
    const before = last.get(event.aggregateId);
    if (before !== undefined && compare(before, event) >= 0) {
      findings.push({ kind: 'out-of-order', eventId, detail: `${place(event)} came after ${place(before)}` });
    } else {
      last.set(event.aggregateId, event);
    }
  }
  for (const event of committed) {
    if (!seen.has(event.eventId)) {
      findings.push({ kind: 'lost', eventId: event.eventId, detail: `${place(event)} is in no message` });
    }
  }
  return findings;
}

const compare = (a: CommittedEvent, b: CommittedEvent): number =>
  a.aggregateSeq - b.aggregateSeq || a.position - b.position;

const place = (event: CommittedEvent): string =>
  `${event.aggregateId}/${event.aggregateSeq}.${event.position}`;

/** An effect that a consumer made, as it was found where the consumer writes. */
export interface FoundEffect {
  readonly consumer: string;
  readonly eventId: string;
}

export interface EffectFinding {
  readonly kind: 'nothing-to-audit' | 'no-effect' | 'effect-twice' | 'stranger' | 'dead-and-done';
  readonly consumer: string;
  readonly eventId: string;
}

/**
 * Compares what consumers owe with what they did: every event has its effect once in each consumer, or is dead there
 * without one; nothing else happened. An audit of nothing is a finding.
 * @param owed what each consumer must have done or buried.
 * @param dead what each consumer has buried.
 */
export function auditEffects(
  owed: readonly FoundEffect[],
  found: readonly FoundEffect[],
  dead: readonly FoundEffect[] = [],
): EffectFinding[] {
  if (owed.length === 0) return [{ kind: 'nothing-to-audit', consumer: '', eventId: '' }];
  const keyOf = (one: FoundEffect): string => `${one.consumer} ${one.eventId}`;
  const times = new Map<string, number>();
  for (const one of found) times.set(keyOf(one), (times.get(keyOf(one)) ?? 0) + 1);
  const buried = new Set(dead.map(keyOf));
  const wanted = new Set(owed.map(keyOf));
  const findings: EffectFinding[] = [];
  const tell = (kind: EffectFinding['kind'], { consumer, eventId }: FoundEffect): void =>
    void findings.push({ kind, consumer, eventId });
  for (const one of owed) {
    const count = times.get(keyOf(one)) ?? 0;
    if (count === 0 && !buried.has(keyOf(one))) tell('no-effect', one);
    if (count > 0 && buried.has(keyOf(one))) tell('dead-and-done', one);
    if (count > 1) tell('effect-twice', one);
  }
  const strangers = new Map([...found, ...dead].map((one) => [keyOf(one), one]));
  for (const [key, one] of strangers) if (!wanted.has(key)) tell('stranger', one);
  return findings;
}
