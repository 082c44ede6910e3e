import { describe, expect, it } from 'vitest';
import { eventChanges, refusedChanges } from './event-changes.ts';

type Document = Parameters<typeof eventChanges>[0];

interface Shape {
  readonly version?: string;
  readonly properties?: Record<string, Record<string, string | number | boolean | string[]>>;
  readonly required?: string[];
  readonly direction?: 'publish' | 'subscribe';
  readonly operationId?: string;
  readonly name?: string;
  readonly dlq?: string;
  readonly closed?: boolean;
  readonly ackWait?: string;
  readonly maxDeliver?: number;
}

const properties = { id: { type: 'string', format: 'uuid' }, kind: { type: 'string', enum: ['a', 'b'] } };

/** A document with one channel, its payload behind two references. */
const document = (shape: Shape): Document => ({
  channels: {
    'a.b': {
      'x-nats-config': {
        ack_wait: shape.ackWait ?? '30s',
        max_deliver: shape.maxDeliver ?? 10,
        dlq_subject: shape.dlq ?? 'dlq.a.b',
      },
      [shape.direction ?? 'publish']: {
        operationId: shape.operationId ?? 'publishAB',
        ...(shape.version === undefined ? {} : { 'x-event-version': shape.version }),
        message: { $ref: '#/components/messages/AB' },
      },
    },
  },
  components: {
    messages: {
      AB: {
        name: shape.name ?? 'AB',
        payload: {
          type: 'object',
          properties: { payload: { $ref: '#/components/schemas/P' } },
        },
      },
    },
    schemas: {
      P: {
        type: 'object',
        additionalProperties: !(shape.closed ?? true),
        properties: shape.properties ?? properties,
        required: shape.required ?? ['id'],
      },
    },
  },
});
const base = document({ version: '1.3' });
const line = '## 1\n- breaking: EVENT a.b: why';

type Row = readonly [what: string, now: Shape, kind: 'breaking' | 'additive' | 'delivery' | 'none'];
const added = { ...properties, more: { type: 'string' } };
const rows: readonly Row[] = [
  ['nothing', {}, 'none'],
  ['other words', { properties: { ...properties, id: { ...properties.id, description: 'x' } } }, 'none'],
  ['an optional field', { properties: added }, 'additive'],
  ['a required field', { properties: added, required: ['id', 'more'] }, 'breaking'],
  ['a field that is gone', { properties: { id: properties.id } }, 'breaking'],
  ['a field that is required now', { required: ['id', 'kind'] }, 'breaking'],
  ['a field that is optional now', { required: [] }, 'breaking'],
  ['another type', { properties: { ...properties, id: { type: 'integer' } } }, 'breaking'],
  ['another format', { properties: { ...properties, id: { type: 'string', format: 'uri' } } }, 'breaking'],
  ['a pattern', { properties: { ...properties, id: { ...properties.id, pattern: '^a' } } }, 'breaking'],
  ['a bound', { properties: { ...properties, id: { ...properties.id, maxLength: 3 } } }, 'breaking'],
  ['null', { properties: { ...properties, id: { ...properties.id, nullable: true } } }, 'breaking'],
  [
    'another word of an enum',
    { properties: { ...properties, kind: { type: 'string', enum: ['a', 'b', 'c'] } } },
    'breaking',
  ],
  ['an open object', { closed: false }, 'breaking'],
  ['the other direction', { direction: 'subscribe' }, 'breaking'],
  ['another operation', { operationId: 'other' }, 'breaking'],
  ['another message name', { name: 'Other' }, 'breaking'],
  ['a shorter patience', { ackWait: '3s' }, 'delivery'],
  ['fewer deliveries', { maxDeliver: 1 }, 'delivery'],
  ['another DLQ', { dlq: 'dlq.other' }, 'breaking'],
];

describe('changes of an event', () => {
  it.each(rows)('%s', (_, shape, kind) => {
    const kinds = new Set(
      eventChanges(base, document({ ...shape, version: '1.3' })).map((change) => change.kind),
    );
    expect([...kinds]).toEqual(kind === 'none' ? [] : [kind]);
  });

  it('a channel that is gone, and one that is new', () => {
    const none: Document = { channels: {} };
    expect(eventChanges(base, none)).toEqual([
      { subject: 'a.b', kind: 'breaking', text: 'the channel is gone' },
    ]);
    expect(eventChanges(none, base)).toEqual([]);
    expect(refusedChanges(base, none, { base: '', now: '' })).toHaveLength(1);
    expect(refusedChanges(base, none, { base: '', now: line })).toEqual([]);
  });
});

describe('limits of delivery', () => {
  it('need a line, and no version', () => {
    const now = document({ version: '1.3', ackWait: '3s', maxDeliver: 1 });
    expect(
      refusedChanges(base, now, { base: '', now: '' }).map(({ text, rule }) => `${text}: ${rule}`),
    ).toEqual([
      'ack_wait changed: a line in the change log',
      'max_deliver changed: a line in the change log',
    ]);
    expect(refusedChanges(base, now, { base: '', now: line })).toEqual([]);
  });
});

describe('schemas that no channel sends', () => {
  const task = (properties: Record<string, object>, required: string[] = []): Document => ({
    channels: {},
    components: {
      schemas: {
        Task: { type: 'object', properties: { part: { $ref: '#/components/schemas/Part' } } },
        Part: { type: 'object', properties: properties as never, required },
      },
    },
  });
  const before = task({ a: { type: 'string' } });

  it.each<[string, Document, string[]]>([
    ['nothing', before, []],
    ['an optional member', task({ a: { type: 'string' }, b: { type: 'string' } }), []],
    [
      'a required member',
      task({ a: { type: 'string' }, b: { type: 'string' } }, ['b']),
      ['Task schema.part.b', 'Part schema.b'],
    ],
    ['a member that is gone', task({}), ['Task schema.part.a', 'Part schema.a']],
    ['a schema that is gone', { channels: {}, components: { schemas: {} } }, ['Task the', 'Part the']],
  ])('%s', (_, now, places) => {
    const refused = refusedChanges(before, now, { base: '', now: '' });
    expect(refused.map(({ subject, text }) => `${subject} ${text.split(' ')[0]}`)).toEqual(places);
    const explained = '## 1\n- breaking: EVENT Task: why\n- breaking: EVENT Part: why';
    expect(refusedChanges(before, now, { base: '', now: explained })).toEqual([]);
  });

  it('are not those that one sends', () => {
    const now = document({ version: '2.0', properties: { id: properties.id } });
    expect(eventChanges(base, now).map(({ subject }) => subject)).toEqual(['a.b']);
  });
});

describe('several messages of one operation', () => {
  const two = (channel: Record<string, object>, names: readonly string[]): Document => ({
    channels: {
      x: {
        ...channel,
        subscribe: {
          operationId: 'on',
          'x-event-version': '2.0',
          message: { oneOf: names.map((name) => ({ name, payload: { type: 'string' } })) },
        },
      },
    },
  });
  const event = { 'x-nats-config': { dlq_subject: 'dlq.x' } };

  it('a previous version of an event may go', () => {
    expect(eventChanges(two(event, ['A', 'AV1']), two(event, ['A']))).toEqual([]);
  });

  it('a message of a socket may not, without a line in the change log', () => {
    const [base, now] = [two({}, ['A', 'B']), two({}, ['A'])];
    expect(eventChanges(base, now)).toMatchObject([{ kind: 'breaking', text: 'the message B is gone' }]);
    expect(refusedChanges(base, now, { base: '', now: '' })).toHaveLength(1);
    expect(refusedChanges(base, now, { base: '', now: '## 1\n- breaking: EVENT x: why' })).toEqual([]);
  });
});

describe('what a change needs', () => {
  const optional: Shape = { properties: added };
  const gone: Shape = { properties: { id: properties.id } };

  it.each<readonly [string, Shape, string, string, string | undefined]>([
    ['an additive change, the same version', { ...optional, version: '1.3' }, '', '', 'a new minor version'],
    ['an additive change, an older minor', { ...optional, version: '1.2' }, '', '', 'a new minor version'],
    ['an additive change, a new minor', { ...optional, version: '1.4' }, '', '', undefined],
    ['a breaking change, a new minor', { ...gone, version: '1.4' }, '', line, 'a new major version'],
    ['a breaking change, a new major', { ...gone, version: '2.0' }, '', '', 'a line in the change log'],
    ['the same, with its line', { ...gone, version: '2.0' }, '', line, undefined],
    [
      'the same, with the line of an older change',
      { ...gone, version: '2.0' },
      line,
      line,
      'a line in the change log',
    ],
    ['a breaking change, no version', gone, '', line, 'a new major version'],
  ])('%s', (_, shape, baseLog, nowLog, rule) => {
    const refused = refusedChanges(base, document(shape), { base: baseLog, now: nowLog });
    expect(refused.map((refusal) => refusal.rule)).toEqual(rule === undefined ? [] : [rule]);
  });

  it('a reference that leads nowhere is an error, not an empty schema', () => {
    const broken: Document = { ...document({}), components: {} };
    expect(() => eventChanges(base, broken)).toThrow('refers to nothing');
  });
});
