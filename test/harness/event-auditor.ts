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
