/** What the contract asks of requests, held against every endpoint. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { errorAnswers } from '../../contracts/codegen/error-answers.ts';
import { endpoints } from '../../contracts/endpoints.api.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { adminListAuditLogs } from '../../contracts/ops/audit-log.api.ts';
import { adminCreateDlqReplay } from '../../contracts/ops/dlq-replay.api.ts';
import { adminListEvents } from '../../contracts/ops/event-log.api.ts';

const all: readonly Endpoint[] = endpoints;
const named = (of: Endpoint): string => `${of.method.toUpperCase()} ${of.path}`;

describe('lists', () => {
  const answersOf = (of: Endpoint): readonly z.ZodObject[] =>
    Object.values(of.responses)
      .map(({ schema }) => schema)
      .filter((schema): schema is z.ZodObject => schema instanceof z.ZodObject);
  const lists = all.filter(
    (of) => of.method === 'get' && answersOf(of).some(({ shape }) => 'items' in shape),
  );

  it('are many', () => {
    expect(lists.length).toBeGreaterThan(10);
  });

  it.each(lists.map((of) => [named(of), of] as const))('%s is a page', (_, of) => {
    expect(Object.keys(of.query?.shape ?? {})).toEqual(expect.arrayContaining(['limit', 'cursor']));
    for (const { shape } of answersOf(of))
      expect(Object.keys(shape).sort()).toEqual(['items', 'next_cursor']);
  });
});

describe('answers that the kind of an endpoint has', () => {
  it.each(all.map((of) => [named(of), of] as const))('%s', (_, of) => {
    const codesOf = (status: number) => errorAnswers(of).find((answer) => answer.status === status)?.codes;
    const mutation = of.method === 'get' ? undefined : ['invalid_request'];
    expect(codesOf(413)).toEqual(mutation);
    expect(codesOf(415)).toEqual(mutation);
    // Only what anybody may read without a token has no budget.
    const free = of.auth === 'none' && of.method === 'get';
    expect(codesOf(429)).toEqual(free ? undefined : ['rate_limit_exceeded']);
  });
});

describe('instants', () => {
  const [first, last] = ['0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z'];
  const readers: readonly (readonly [string, (at: string) => string | undefined])[] = [
    ['audit-logs from', (from) => adminListAuditLogs.query.parse({ from }).from],
    ['audit-logs to', (to) => adminListAuditLogs.query.parse({ to }).to],
    ['events from', (from) => adminListEvents.query.parse({ from }).from],
    ['events to', (to) => adminListEvents.query.parse({ to }).to],
    [
      'dlq-replays arrived_before',
      (at) =>
        adminCreateDlqReplay.body.parse({ filter: { arrived_before: at }, reason: 'r' }).filter
          .arrived_before,
    ],
  ];

  it.each(readers)('%s: the nearest that can be stored', (_, read) => {
    expect(read('9999-12-31T23:59:59-01:00')).toBe(last);
    expect(read('9999-12-31T23:59:59.9999999Z')).toBe('9999-12-31T23:59:59.9999999Z');
    expect(read('0000-12-31T23:59:59Z')).toBe(first);
    expect(read('0001-01-01T00:00:00+00:01')).toBe(first);
    expect(read('2026-01-01T00:00:00+02:00')).toBe('2026-01-01T00:00:00+02:00');
  });

  it.each(readers)('%s: no other instant leads out of the years 1 to 9999', (_, read) => {
    for (const year of ['0000', '0001', '2024', '9999']) {
      for (const rest of ['-01-01T00:00:00', '-12-31T23:59:59.', '-06-30T12:00:00.']) {
        for (const offset of ['Z', '+23:59', '-23:59', '+00:00']) {
          const text = `${year}${rest}${rest.endsWith('.') ? '9'.repeat(30) : ''}${offset}`;
          expect(new Date(read(text) ?? '').toISOString(), text).toMatch(/^(?!0000)\d{4}-/);
        }
      }
    }
  });
});
