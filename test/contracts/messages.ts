/**
 * Messages that fit the source contract, and messages that do not, made from the committed digest of the source alone;
 * our own schemas have no part in it.
 */
import fc from 'fast-check';
import {
  isJsonObject,
  objectAt,
  type Json,
  type JsonDraft,
  type JsonObject,
} from '../../contracts/codegen/json.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { sourceMessage } from './source.ts';

/** A value with what is special about it. */
export interface Sample<T extends Json = Json> {
  readonly why: string;
  readonly value: T;
}

export type MutationKind = 'missing' | 'type' | 'bound' | 'enum' | 'pattern' | 'format' | 'stranger' | 'null';

/** A value that does not fit, with the one rule that it breaks. */
export interface Mutation<T extends Json = Json> extends Sample<T> {
  readonly kind: MutationKind;
}

const uuid = '0b9f3a52-6f0e-4a53-8a4e-3f1d9f6b2c11';
const typicalOfFormat: Readonly<Record<string, readonly string[]>> = {
  // A format says nothing about versions and variants.
  uuid: [uuid, '11111111-1111-1111-1111-111111111111', '0B9F3A52-6F0E-9A53-0A4E-3F1D9F6B2C11'],
  'date-time': ['2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05Z', '2026-01-02T03:04:05+02:00'],
  uri: ['https://example.com/allocations/1?tab=usage', 'gpuaas:allocation'],
  byte: ['AAEC/w==', ''],
};
const brokenOfFormat: Readonly<Record<string, readonly string[]>> = {
  uuid: ['not-a-uuid', uuid.slice(1), `{${uuid}}`, ''],
  'date-time': ['2026-13-45T00:00:00Z', '2026-01-02', '2026-01-02T03:04:05', '2026-01-02 03:04', ''],
  uri: ['no uri', '/relative', ''],
  byte: ['***', 'AAEC/w', 'A'],
};

const matching = (pattern: string): readonly string[] =>
  fc.sample(fc.stringMatching(new RegExp(pattern)), { numRuns: 3, seed: 1 });

/** Near misses of a pattern: all that it refuses of the usual slips. */
export function notMatching(pattern: string): readonly string[] {
  const [good = ''] = matching(pattern);
  const slips = [
    '',
    `${good}\n`,
    ` ${good}`,
    `${good}!`,
    good.slice(0, 1),
    good.toLowerCase(),
    good.toUpperCase(),
    'ä',
  ];
  return [...new Set(slips)].filter((slip) => !new RegExp(pattern).test(slip));
}

const listOf = (field: JsonObject, key: string): readonly Json[] => {
  const value = field[key];
  return Array.isArray(value) ? value : [];
};
const isRequired = (field: JsonObject, name: string): boolean => listOf(field, 'required').includes(name);
const fieldsOf = (field: JsonObject): readonly (readonly [string, JsonObject])[] =>
  Object.keys(objectAt(field, 'fields')).map((name) => [name, objectAt(objectAt(field, 'fields'), name)]);

function numbersOf(field: JsonObject): readonly Json[] {
  const { minimum, maximum } = field;
  const edges = [minimum, maximum].filter((edge) => typeof edge === 'number');
  if (edges.length === 0) return [7, 0, -7];
  const inside = typeof minimum === 'number' ? minimum + 1 : Number(maximum) - 1;
  return [
    ...edges,
    inside,
    ...(field['type'] === 'number' && typeof minimum === 'number' ? [minimum + 0.5] : []),
  ];
}

/** Values of a field that is no object with members and no list; the first is the usual one. */
function plainValues(field: JsonObject): readonly Json[] {
  if (field['const'] !== undefined) return [field['const']];
  if (Array.isArray(field['enum'])) return listOf(field, 'enum');
  switch (field['type']) {
    case 'integer':
    case 'number':
      return numbersOf(field);
    case 'boolean':
      return [true, false];
    case 'object':
      return [{}, { any: { thing: [1, 'two', null] } }];
    case 'string':
      if (typeof field['pattern'] === 'string') return matching(field['pattern']);
      return typicalOfFormat[String(field['format'])] ?? ['text', '', 'ä 你 😀'];
    default:
      throw new Error(`no values of type ${String(field['type'])}`);
  }
}

const isMembered = (field: JsonObject): boolean => field['type'] === 'object' && fieldsOf(field).length > 0;

/** The usual value of a field, with every optional member or none. */
function usual(field: JsonObject, whole: boolean): Json {
  if (field['type'] === 'array') return [usual(objectAt(field, 'items'), whole)];
  if (!isMembered(field)) return plainValues(field)[0] ?? null;
  const members = fieldsOf(field).filter(([name]) => whole || isRequired(field, name));
  return Object.fromEntries(members.map(([name, one]) => [name, usual(one, whole)]));
}

/** Every value of a field worth a try, each with one thing special. */
function variants(field: JsonObject, at: string): readonly Sample[] {
  const nulls: Sample[] = field['nullable'] === true ? [{ why: `${at} is null`, value: null }] : [];
  if (field['type'] === 'array') {
    const items = objectAt(field, 'items');
    const inner = variants(items, `${at}[0]`).map(({ why, value }) => ({ why, value: [value] }));
    const two: Sample = { why: `${at} has two`, value: [usual(items, true), usual(items, true)] };
    const none: Sample[] = Number(field['minItems'] ?? 0) > 0 ? [] : [{ why: `${at} is empty`, value: [] }];
    return [...nulls, ...inner, two, ...none];
  }
  if (!isMembered(field)) {
    const values = plainValues(field).map((value) => ({ why: `${at} is ${JSON.stringify(value)}`, value }));
    return [...nulls, ...values];
  }
  const whole = usual(field, true) as JsonObject;
  const inner = fieldsOf(field).flatMap(([name, one]) =>
    variants(one, `${at}.${name}`).map(({ why, value }) => ({ why, value: { ...whole, [name]: value } })),
  );
  const without = fieldsOf(field)
    .filter(([name]) => !isRequired(field, name))
    .map(([name]) => {
      const { [name]: _, ...value } = whole;
      return { why: `${at} without ${name}`, value };
    });
  return [...nulls, ...inner, ...without];
}

/** Values that fit a digested schema: whole, smallest, and each special value of each member. */
export const validValues = (field: JsonObject, at = 'value'): readonly Sample[] => [
  { why: 'whole', value: usual(field, true) },
  { why: 'smallest', value: usual(field, false) },
  ...variants(field, at),
];

const wrongTypes: Readonly<Record<string, readonly Json[]>> = {
  string: [7, true, ['text'], { text: 'text' }],
  integer: ['7', 1.5, true, [7]],
  number: ['0.5', true, [0.5]],
  boolean: ['true', 1, 0],
  array: [{}, 'text', 7],
  object: [[], 'text', 7],
};

/** Values of the right type that break a rule of a plain field. */
function broken(field: JsonObject): readonly (readonly [MutationKind, Json])[] {
  const found: [MutationKind, Json][] = [];
  if (field['const'] !== undefined || field['enum'] !== undefined) {
    found.push(['enum', 'another word'], ['enum', '']);
    const [first] = plainValues(field);
    if (typeof first === 'string' && first !== first.toUpperCase()) found.push(['enum', first.toUpperCase()]);
  }
  if (typeof field['pattern'] === 'string')
    for (const slip of notMatching(field['pattern'])) found.push(['pattern', slip]);
  for (const slip of brokenOfFormat[String(field['format'])] ?? []) found.push(['format', slip]);
  if (typeof field['minimum'] === 'number') found.push(['bound', field['minimum'] - 1]);
  if (typeof field['maximum'] === 'number') found.push(['bound', field['maximum'] + 1]);
  if (Number(field['minItems'] ?? 0) > 0) found.push(['bound', []]);
  return found;
}

const shown = (value: Json): string => JSON.stringify(value);

/** Every way in which a value of a digested schema can be wrong, one rule at a time. */
export function mutationsOf(field: JsonObject, at = 'value'): readonly Mutation[] {
  const type = String(field['type']);
  const types = (wrongTypes[type] ?? []).map((value): Mutation => ({
    kind: 'type',
    why: `${at} is ${shown(value)}, no ${type}`,
    value,
  }));
  const nulls: Mutation[] =
    field['nullable'] === true ? [] : [{ kind: 'null', why: `${at} is null`, value: null }];
  const rules = broken(field).map(([kind, value]): Mutation => ({
    kind,
    why: `${at} is ${shown(value)} against its ${kind}`,
    value,
  }));
  const own = [...types, ...nulls, ...rules];
  if (type === 'array') {
    const inner = mutationsOf(objectAt(field, 'items'), `${at}[0]`);
    return [...own, ...inner.map((one) => ({ ...one, value: [one.value] }))];
  }
  return isMembered(field) ? [...own, ...memberMutations(field, at)] : own;
}

function memberMutations(field: JsonObject, at: string): readonly Mutation[] {
  const whole = usual(field, true) as JsonObject;
  const strangers: Mutation[] =
    field['closed'] === true
      ? ['stranger', '__proto__x', 'Event_Id'].map((name) => ({
          kind: 'stranger',
          why: `${at} has ${name}`,
          value: { ...whole, [name]: 1 },
        }))
      : [];
  const missing = listOf(field, 'required').map((required): Mutation => {
    const { [String(required)]: _, ...value } = whole;
    return { kind: 'missing', why: `${at} without ${String(required)}`, value };
  });
  const inner = fieldsOf(field).flatMap(([name, one]) =>
    mutationsOf(one, `${at}.${name}`).map((mutation) => ({
      ...mutation,
      value: { ...whole, [name]: mutation.value },
    })),
  );
  return [...strangers, ...missing, ...inner];
}

/** A message of its own: the placeholder id becomes one that no other message has. */
function withOwnId(message: Json, subject: string, why: string): Json {
  if (!isJsonObject(message) || message['event_id'] !== uuid) return message;
  const own: JsonDraft = { ...message, event_id: uuid5('sample', subject, why) };
  return own;
}

const asMessage = (value: Json): JsonObject => {
  if (!isJsonObject(value)) throw new Error('no message');
  return value;
};

/**
 * Messages of a subject that fit the source contract, each with an `event_id` of its own.
 * The version is that of the source's envelope, any string; `versioned` puts one that consumers read.
 */
export const validMessages = (subject: string): readonly Sample<JsonObject>[] =>
  validValues(sourceMessage(subject), 'message').map(({ why, value }) => ({
    why,
    value: asMessage(withOwnId(value, subject, why)),
  }));

/**
 * Messages of a subject that break exactly one rule of the source contract; a message that is no object at all is among
 * them. Each `why` is unique within its subject.
 */
export const mutations = (subject: string): readonly Mutation[] =>
  mutationsOf(sourceMessage(subject), 'message').map((one) => ({
    ...one,
    value: withOwnId(one.value, subject, one.why),
  }));

/** The message with a version that consumers read, where it has one. */
export const versioned = (message: Json, version: string): Json =>
  isJsonObject(message) && typeof message['version'] === 'string' ? { ...message, version } : message;
