import { describe, expect, it } from 'vitest';
import { auditEvents, type CommittedEvent, type StoredEvent } from '../harness/event-auditor.ts';

const committed: CommittedEvent[] = ['a', 'b'].flatMap((aggregateId) =>
  [1, 2, 3].flatMap((aggregateSeq) =>
    [0, 1].map((position) => ({
      eventId: `${aggregateId}${aggregateSeq}${position}`,
      aggregateId,
      aggregateSeq,
      position,
    })),
  ),
);
const inOrder = committed.map((event) => event.eventId);
const stored = (ids: readonly string[]): StoredEvent[] =>
  ids.map((eventId, at) => ({ seq: at + 1, eventId }));
const findings = (ids: readonly string[]): string[] =>
  auditEvents(committed, stored(ids)).map((finding) => `${finding.kind} ${finding.eventId}`);
const swapped = (one: string, other: string): string[] =>
  inOrder.map((id) => (id === one ? other : id === other ? one : id));

describe('the event auditor', () => {
  it.each([
    ['nothing', inOrder, []],
    [
      'aggregates interleaved',
      inOrder.filter((_, i) => i % 2 === 0).concat(inOrder.filter((_, i) => i % 2 === 1)),
      null,
    ],
    ['a loss', inOrder.filter((id) => id !== 'a21'), ['lost a21']],
    ['a loss at the end', inOrder.slice(0, -1), ['lost b31']],
    ['everything lost', [], inOrder.map((id) => `lost ${id}`)],
    ['a duplicate', [...inOrder, 'a10'], ['twice a10']],
    ['a duplicate right behind', inOrder.flatMap((id) => (id === 'b20' ? [id, id] : [id])), ['twice b20']],
    ['two versions swapped', swapped('a20', 'a30'), ['out-of-order a21', 'out-of-order a20']],
    ['two positions swapped', swapped('b10', 'b11'), ['out-of-order b10']],
    ['a stranger', [...inOrder, 'x'], ['stranger x']],
  ] as const)('tells: %s', (_what, ids, expected) => {
    if (expected !== null) expect(findings(ids)).toEqual(expected);
    else expect(findings(ids).every((finding) => finding.startsWith('out-of-order'))).toBe(true);
  });

  it('passes aggregates side by side', () => {
    const sideBySide = [0, 1, 2, 3, 4, 5].flatMap((at) => [inOrder[at] ?? '', inOrder[at + 6] ?? '']);
    expect(findings(sideBySide)).toEqual([]);
  });

  it('goes by the order of the stream, not of the list', () => {
    expect(auditEvents(committed, stored(inOrder).reverse())).toEqual([]);
  });

  it('fails when there is nothing to audit', () => {
    expect(auditEvents([], []).map((finding) => finding.kind)).toEqual(['nothing-to-audit']);
  });
});
