import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { allocationChannels } from '../../contracts/allocations/allocation.events.ts';
import { asyncApiDocument, type AnyChannel } from '../../contracts/codegen/asyncapi.ts';
import { isJsonObject, objectAt, toJson, type Json, type JsonObject } from '../../contracts/codegen/json.ts';
import { channel, dlqSubject, messageSchema } from '../../contracts/envelope.ts';
import { compile } from './compile.ts';
import { channelDigest, digestOf } from './schema-digest.ts';

const json = (value: unknown): JsonObject => {
  const plain = toJson(value);
  if (!isJsonObject(plain)) throw new Error('no object');
  return plain;
};
const read = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');

const declarations: readonly AnyChannel[] = allocationChannels;
const source = json(JSON.parse(read('seed-channels.json')));
const document = json(parse(read('../../contracts/generated/asyncapi.yaml')));
const sourceChannels = objectAt(source, 'channels');
const subjects = Object.keys(sourceChannels);

describe('the allocation channels and the source contract', () => {
  it('has exactly the channels of the source', () => {
    expect(declarations.map(({ subject }) => subject).sort()).toEqual([...subjects].sort());
    expect(Object.keys(objectAt(document, 'channels')).sort()).toEqual([...subjects].sort());
  });

  it('has the head of the source', () => {
    for (const [key, value] of Object.entries(objectAt(source, 'head')))
      expect(document[key], key).toEqual(value);
  });

  it.each(subjects)('the declaration of %s is that of the source, field by field', (subject) => {
    const of = declarations.find((candidate) => candidate.subject === subject);
    if (of === undefined) throw new Error('not declared');
    const schema = json(z.toJSONSchema(messageSchema(of), { target: 'draft-7' }));
    expect({
      servers: ['nats-internal'],
      nats: {
        ack_policy: 'explicit',
        ack_wait: `${of.nats.ackWaitSeconds}s`,
        max_deliver: of.nats.maxDeliver,
        dlq_subject: dlqSubject(of.subject),
      },
      direction: of.direction,
      operation_id: of.operationId,
      message_name: of.messageName,
      message_id: of.subject,
      message: digestOf(schema, schema),
    }).toEqual(sourceChannels[subject]);
  });

  it.each(subjects)('the generated channel %s is that of the source, field by field', (subject) => {
    const found = channelDigest(document, subject, (payload) => digestOf(payload, document));
    expect(found).toEqual(sourceChannels[subject]);
  });
});

const uuid = '0b9f3a52-6f0e-4a53-8a4e-3f1d9f6b2c11';

/** A value that fits a digested field. */
function sample(field: Json): Json {
  if (!isJsonObject(field)) throw new Error('no field');
  if (field['const'] !== undefined) return field['const'];
  if (Array.isArray(field['enum'])) return (field['enum'] as readonly Json[])[0] ?? null;
  if (field['format'] === 'uuid') return uuid;
  if (field['format'] === 'date-time') return '2026-01-02T03:04:05.678Z';
  if (field['type'] === 'array') return [sample(field['items'] ?? null)];
  if (field['type'] === 'object') {
    return Object.fromEntries(
      Object.entries(objectAt(field, 'fields')).map(([name, one]) => [name, sample(one)]),
    );
  }
  return 'text';
}

/** Every way in which one object of a message can be wrong, with its name. */
function mutations(field: JsonObject, value: JsonObject, at: string): [string, JsonObject][] {
  const found: [string, JsonObject][] = [[`${at} with a stranger`, { ...value, stranger: 1 }]];
  const required = field['required'];
  for (const [name, one] of Object.entries(objectAt(field, 'fields'))) {
    if (!isJsonObject(one)) continue;
    const where = `${at}.${name}`;
    const put = (wrong: Json, why: string) => found.push([`${where} ${why}`, { ...value, [name]: wrong }]);
    if (Array.isArray(required) && required.includes(name)) {
      const { [name]: _, ...rest } = value;
      found.push([`${where} missing`, rest]);
    }
    put(7, 'a number');
    if (one['nullable'] !== true) put(null, 'null');
    if (one['enum'] !== undefined || one['const'] !== undefined) put('another', 'another word');
    if (one['format'] === 'uuid') put('not-a-uuid', 'no uuid');
    if (one['format'] === 'date-time') put('2026-13-45T00:00:00Z', 'no instant');
    if (one['minItems'] !== undefined) put([], 'empty');
    const inner = value[name];
    if (one['type'] === 'object' && isJsonObject(inner)) {
      for (const [why, wrong] of mutations(one, inner, where)) found.push([why, { ...value, [name]: wrong }]);
    }
  }
  return found;
}

describe.each(subjects)('messages of %s', (subject) => {
  const of = declarations.find((candidate) => candidate.subject === subject);
  if (of === undefined) throw new Error('not declared');
  const field = objectAt(objectAt(sourceChannels, subject), 'message');
  const whole = json(sample(field));
  const name = of.messageName;
  const schema = objectAt(objectAt(objectAt(objectAt(document, 'components'), 'messages'), name), 'payload');
  const validators = [messageSchema(of), compile(document, schema, 'draft-7')] as const;

  it('a whole message passes the declaration and the document', () => {
    for (const validator of validators) expect(validator.safeParse(whole).error).toBeUndefined();
  });

  it('null passes where the source says nullable', () => {
    const payload = objectAt(objectAt(objectAt(field, 'fields'), 'payload'), 'fields');
    const nullable = Object.keys(payload).filter((key) => objectAt(payload, key)['nullable'] === true);
    expect(nullable).toContain('project_id');
    for (const key of nullable) {
      const message = { ...whole, payload: { ...objectAt(whole, 'payload'), [key]: null } };
      for (const validator of validators) expect(validator.safeParse(message).error, key).toBeUndefined();
    }
  });

  it('every mutated message is refused by both', () => {
    const wrong = mutations(field, whole, 'message');
    expect(wrong.length).toBeGreaterThan(20);
    for (const [why, message] of wrong) {
      const verdicts = validators.map((validator) => validator.safeParse(message).success);
      expect(verdicts, why).toEqual([false, false]);
    }
  });
});

describe('the generator', () => {
  const declared = channel({
    subject: 'gpuaas.test.happened',
    messageName: 'HappenedEvent',
    operationId: 'publishHappened',
    direction: 'publish',
    version: '1.0',
    nats: { ackWaitSeconds: 30, maxDeliver: 10 },
    payload: z.strictObject({ id: z.uuid() }).meta({ id: 'HappenedPayload' }),
  });

  it('refuses a subject that is declared twice', () => {
    expect(() => asyncApiDocument([declared, declared])).toThrow('declared twice');
  });

  it('refuses a payload without an id', () => {
    const nameless = { ...declared, payload: z.strictObject({ id: z.uuid() }) };
    expect(() => asyncApiDocument([nameless])).toThrow('the payload has no id');
  });

  it('refuses a null that nullable cannot say', () => {
    const union = z.strictObject({ id: z.union([z.string(), z.int(), z.null()]) }).meta({ id: 'OddPayload' });
    expect(() => asyncApiDocument([{ ...declared, payload: union }])).toThrow('cannot be said with nullable');
  });
});
