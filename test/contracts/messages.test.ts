import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readFileSync } from 'node:fs';
import { objectAt, type Json, type JsonObject } from '../../contracts/codegen/json.ts';
import { channelOf, subjects } from '../../contracts/channels.ts';
import { messageSchema, readMessage } from '../../contracts/envelope.ts';
import {
  terminalControlPayload,
  terminalHeartbeat,
  terminalOpenTaskParams,
  terminalResize,
  terminalStreamFrame,
} from '../../contracts/terminal/terminal-session.events.ts';
import { userNotificationPayload } from '../../contracts/ops/notification.events.ts';
import { compile } from './compile.ts';
import {
  mutations,
  mutationsOf,
  notMatching,
  validMessages,
  validValues,
  versioned,
  type MutationKind,
} from './messages.ts';
import { json, source, sourceSubjects } from './source.ts';

const document = json(
  parse(readFileSync(new URL('../../contracts/generated/asyncapi.yaml', import.meta.url), 'utf8')),
);
const components = objectAt(document, 'components');

const declared = (subject: string) => {
  const of = channelOf(subject);
  if (of === undefined) throw new Error(`${subject} is not declared`);
  return of;
};
const bytes = (message: Json): Uint8Array => new TextEncoder().encode(JSON.stringify(message));

describe('messages made from the source', () => {
  it('are of every subject that is declared, and of no other', () => {
    expect(sourceSubjects).toHaveLength(43);
    expect([...subjects].sort()).toEqual([...sourceSubjects].sort());
  });
});

describe.each(sourceSubjects)('messages of %s', (subject) => {
  const of = declared(subject);
  const payload = objectAt(objectAt(objectAt(components, 'messages'), of.messageName), 'payload');
  const validators = [messageSchema(of), compile(document, payload, 'draft-7')] as const;
  const valid = validMessages(subject);
  const wrong = mutations(subject);

  it(`${valid.length} that fit are accepted by declaration, document and reader`, () => {
    expect(valid.length).toBeGreaterThan(10);
    for (const { why, value } of valid) {
      for (const validator of validators) expect(validator.safeParse(value).error, why).toBeUndefined();
      const message = versioned(value, of.version);
      expect(readMessage(of, bytes(message)), why).toEqual({ ok: true, event: message });
    }
  });

  it(`${wrong.length} that break one rule are refused by declaration, document and reader`, () => {
    expect(wrong.length).toBeGreaterThan(50);
    for (const { why, value } of wrong) {
      const verdicts = validators.map((validator) => validator.safeParse(value).success);
      expect(verdicts, why).toEqual([false, false]);
      const read = readMessage(of, bytes(versioned(value, of.version)));
      expect(read.ok, why).toBe(false);
    }
  });

  it('are all different, and break rules of every kind that its schema has', () => {
    expect(new Set(wrong.map(({ why }) => why)).size).toBe(wrong.length);
    const ids = [...valid.map(({ value }) => value)].map((value) => value['event_id']);
    expect(new Set(ids).size).toBeGreaterThan(valid.length - 3);
    const kinds = new Set(wrong.map(({ kind }) => kind));
    const always: readonly MutationKind[] = ['missing', 'type', 'enum', 'format', 'stranger', 'null'];
    expect(always.filter((kind) => !kinds.has(kind))).toEqual([]);
  });
});

const sockets = objectAt(source, 'sockets');
const sourceComponents = objectAt(source, 'components');
const frames = (address: string, direction: string): readonly JsonObject[] => {
  const all = objectAt(objectAt(sockets, address), direction)['messages'];
  if (!Array.isArray(all)) throw new Error('no messages');
  return all.map((one: Json) => json(one));
};
const payloadNamed = (name: string): JsonObject => {
  const all = [
    ...frames('ws/terminal', 'publish'),
    ...frames('ws/terminal', 'subscribe'),
    ...frames('ws/notifications', 'subscribe'),
  ];
  return objectAt(all.find((one) => one['name'] === name) ?? {}, 'payload');
};

describe.each([
  ['TerminalControl', payloadNamed('TerminalControl'), terminalControlPayload],
  ['TerminalResize', payloadNamed('TerminalResize'), terminalResize],
  ['TerminalHeartbeat', payloadNamed('TerminalHeartbeat'), terminalHeartbeat],
  ['UserNotification', payloadNamed('UserNotification'), userNotificationPayload],
  ['TerminalOpenTaskParams', objectAt(sourceComponents, 'TerminalOpenTaskParams'), terminalOpenTaskParams],
  ['TerminalStreamFrame', objectAt(sourceComponents, 'TerminalStreamFrame'), terminalStreamFrame],
])('%s', (_, field, schema) => {
  it('accepts what fits the source, and refuses what breaks one rule', () => {
    const [valid, wrong] = [validValues(field), mutationsOf(field)];
    expect([valid.length > 2, wrong.length > 10]).toEqual([true, true]);
    for (const { why, value } of valid) expect(schema.safeParse(value).error, why).toBeUndefined();
    for (const { why, value } of wrong) expect(schema.safeParse(value).success, why).toBe(false);
  });
});

describe('the mutator', () => {
  const closed = (fields: JsonObject, required: readonly string[]): JsonObject => ({
    type: 'object',
    closed: true,
    required,
    fields,
  });
  const kindsOf = (field: JsonObject) => mutationsOf(field).map(({ kind }) => kind);
  const text = { type: 'string' };

  it.each([
    ['an enum', { type: 'string', enum: ['a'] }, 'enum'],
    ['a constant', { type: 'string', const: 'a' }, 'enum'],
    ['a pattern', { type: 'string', pattern: '^[A-Z]{3}$' }, 'pattern'],
    ['a format', { type: 'string', format: 'uuid' }, 'format'],
    ['a lower bound', { type: 'integer', minimum: 0 }, 'bound'],
    ['an upper bound', { type: 'integer', maximum: 9 }, 'bound'],
    ['a shortest list', { type: 'array', minItems: 1, items: text }, 'bound'],
    ['a required member', closed({ a: text }, ['a']), 'missing'],
    ['a closed object', closed({ a: text }, []), 'stranger'],
    ['a value', text, 'null'],
    ['a type', text, 'type'],
    ['an item', { type: 'array', items: { type: 'string', format: 'uuid' } }, 'format'],
    ['a member of a member', closed({ a: closed({ b: { type: 'string', enum: ['b'] } }, []) }, []), 'enum'],
  ] as const)('breaks %s', (_, field, kind) => {
    expect(kindsOf(field)).toContain(kind);
  });

  it('breaks no rule that is not there', () => {
    expect(kindsOf({ ...text, nullable: true })).not.toContain('null');
    const open = { type: 'object', closed: false, required: [], fields: { a: text } };
    expect(kindsOf(open)).not.toContain('stranger');
    expect(kindsOf(closed({ a: text }, []))).not.toContain('missing');
    expect(new Set(kindsOf(text))).toEqual(new Set(['type', 'null']));
  });

  it('changes one place at a time', () => {
    const field = closed({ a: { type: 'string', enum: ['a'] }, b: { type: 'integer', minimum: 0 } }, [
      'a',
      'b',
    ]);
    const whole = { a: 'a', b: 0 };
    for (const { value, why } of mutationsOf(field)) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) continue;
      const found = json(value);
      const names = new Set([...Object.keys(whole), ...Object.keys(found)]);
      const changed = [...names].filter((name) => found[name] !== Reflect.get(whole, name));
      expect(changed.length, why).toBe(1);
    }
  });

  it('has slips for every pattern of the source', () => {
    const patterns = new Set(
      [...JSON.stringify(source).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)].map(([, text]) =>
        String(JSON.parse(text ?? '""')),
      ),
    );
    expect(patterns.size).toBe(5);
    for (const pattern of patterns) expect(notMatching(pattern).length, pattern).toBeGreaterThan(2);
  });

  it('makes nothing of a type that it does not know', () => {
    expect(() => validValues({ type: 'tuple' })).toThrow('no values of type tuple');
  });
});
