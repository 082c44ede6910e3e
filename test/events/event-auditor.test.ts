import { describe, expect, it } from 'vitest';
import {
  auditEffects,
  auditEvents,
  type CommittedEvent,
  type FoundEffect,
  type StoredEvent,
} from '../harness/event-auditor.ts';

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

const effectsNamed = (...names: readonly string[]): FoundEffect[] =>
  names.map((name) => ({ consumer: name.split(' ')[0] ?? '', eventId: name.split(' ')[1] ?? '' }));

describe('the auditor of effects', () => {
  const owed = effectsNamed('billing 1', 'billing 2', 'account 1', 'account 2');
  const all = ['billing 1', 'billing 2', 'account 1', 'account 2'] as const;
  const rows: readonly (readonly [
    what: string,
    found: readonly string[],
    dead: readonly string[],
    told: readonly string[],
  ])[] = [
    ['nothing', all, [], []],
    ['nothing, in any order', [...all].reverse(), [], []],
    ['a lost effect', all.slice(1), [], ['no-effect billing 1']],
    ['everything lost', [], [], all.map((one) => `no-effect ${one}`)],
    ['an effect that happened twice', [...all, 'account 2'], [], ['effect-twice account 2']],
    [
      'an effect of one consumer in place of the other',
      [...all.slice(1), 'account 1'],
      [],
      ['no-effect billing 1', 'effect-twice account 1'],
    ],
    ['an effect of nobody', [...all, 'billing 3'], [], ['stranger billing 3']],
    ['nothing: one is dead instead', all.slice(1), ['billing 1'], []],
    ['one that is dead and happened', all, ['billing 1'], ['dead-and-done billing 1']],
    ['a letter of nobody', all, ['account 9'], ['stranger account 9']],
  ];

  it.each(rows)('tells: %s', (_what, found, dead, told) => {
    const findings = auditEffects(owed, effectsNamed(...found), effectsNamed(...dead));
    expect(findings.map((one) => `${one.kind} ${one.consumer} ${one.eventId}`)).toEqual(told);
  });

  it('is not content with nothing to compare', () => {
    expect(auditEffects([], []).map(({ kind }) => kind)).toEqual(['nothing-to-audit']);
  });
});
