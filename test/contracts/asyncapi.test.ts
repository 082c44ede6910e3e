import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { channelOf, channels, sockets, subjects } from '../../contracts/channels.ts';
import { schemaParts } from '../../contracts/codegen/asyncapi-schemas.ts';
import { asyncApiDocument } from '../../contracts/codegen/asyncapi.ts';
import { isJsonObject, objectAt, type Json } from '../../contracts/codegen/json.ts';
import { channel, dlqSubject, messageSchema, previousVersion } from '../../contracts/envelope.ts';
import { channelDigest, digestOf, socketDigest } from './schema-digest.ts';
import { json, source, sourceChannel, sourceSubjects } from './source.ts';

const document = json(
  parse(readFileSync(new URL('../../contracts/generated/asyncapi.yaml', import.meta.url), 'utf8')),
);
const documentChannels = objectAt(document, 'channels');
const documentSchemas = objectAt(objectAt(document, 'components'), 'schemas');
const sourceSockets = objectAt(source, 'sockets');
const sourceComponents = objectAt(source, 'components');

/** Components of the source that no channel leads to. */
const aside = [
  'NodeCleanupTaskType',
  'NodeGPUScrubTaskParams',
  'NodeStorageCleanupTaskParams',
  'NodeValidateCleanTaskParams',
  'NodeCleanupTaskResult',
  'TerminalOpenTaskParams',
  'TerminalStreamFrame',
];
/** Payloads that the source writes in place; here each has a name. */
const inPlace = [
  'LowBalanceWarningPayload',
  'BalanceDepletedPayload',
  'AutoReleasePendingPayload',
  'BudgetThresholdCrossedPayload',
];

describe('the channels and the source contract', () => {
  it('are the same 43 subjects and 2 sockets', () => {
    expect([sourceSubjects.length, Object.keys(sourceSockets).length]).toEqual([43, 2]);
    expect([...subjects].sort()).toEqual([...sourceSubjects].sort());
    expect(sockets.map(({ address }) => address).sort()).toEqual(Object.keys(sourceSockets).sort());
    expect(Object.keys(documentChannels).sort()).toEqual(
      [...sourceSubjects, ...Object.keys(sourceSockets)].sort(),
    );
  });

  it('are found by their subject', () => {
    for (const of of channels) expect(channelOf(of.subject)).toBe(of);
    expect(channelOf('gpuaas.provisioning')).toBeUndefined();
  });

  it('have the head of the source', () => {
    for (const [key, value] of Object.entries(objectAt(source, 'head')))
      expect(document[key], key).toEqual(value);
  });

  it('are published, but for four of billing that are subscribed to', () => {
    const subscribed = channels.filter(({ direction }) => direction === 'subscribe');
    expect(subscribed.map(({ subject }) => subject)).toEqual([
      'platform.billing.low_balance_warning',
      'platform.billing.balance_depleted',
      'platform.billing.auto_release_pending',
      'platform.billing.budget_threshold_crossed',
    ]);
  });

  it.each(sourceSubjects)('the declaration of %s is that of the source, field by field', (subject) => {
    const of = channelOf(subject);
    if (of === undefined) throw new Error('not declared');
    const { schema, schemas } = schemaParts(messageSchema(of));
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
      message: digestOf(schema, { components: { schemas } }),
    }).toEqual(sourceChannel(subject));
  });

  it.each(sourceSubjects)('the generated channel %s is that of the source, field by field', (subject) => {
    const found = channelDigest(document, subject, (payload) => digestOf(payload, document));
    expect(found).toEqual(sourceChannel(subject));
  });

  it.each(Object.keys(sourceSockets))('the generated socket %s is that of the source', (address) => {
    expect(socketDigest(document, address)).toEqual(sourceSockets[address]);
  });
});

describe('the components', () => {
  /** Names of schemas that the channels lead to. */
  const reachable = (): ReadonlySet<string> => {
    const found = new Set<string>();
    const visit = (value: Json): void => {
      if (Array.isArray(value)) for (const item of value) visit(item);
      if (!isJsonObject(value)) return;
      const target = value['$ref'];
      const [, kind = '', name = ''] =
        /^#\/components\/(schemas|messages)\/(.+)$/.exec(typeof target === 'string' ? target : '') ?? [];
      if (name !== '' && !found.has(name)) {
        found.add(name);
        visit(objectAt(objectAt(objectAt(document, 'components'), kind), name));
      }
      for (const member of Object.values(value)) visit(member);
    };
    visit(documentChannels);
    return found;
  };

  it('are those of the source by name, and the payloads that it writes in place', () => {
    expect(Object.keys(documentSchemas).sort()).toEqual(
      [...Object.keys(sourceComponents), ...inPlace].sort(),
    );
  });

  it.each(Object.keys(sourceComponents))('%s is that of the source, field by field', (name) => {
    expect(digestOf(objectAt(documentSchemas, name), document)).toEqual(sourceComponents[name]);
  });

  it('hold exactly those aside that no channel leads to', () => {
    const found = reachable();
    const unused = Object.keys(documentSchemas).filter((name) => !found.has(name));
    expect(unused.sort()).toEqual([...aside].sort());
  });

  it('name the payload of a channel as the source does', () => {
    for (const [subject, event] of Object.entries(objectAt(source, 'events'))) {
      const payload = isJsonObject(event) ? event['payload'] : undefined;
      if (typeof payload === 'string') expect(channelOf(subject)?.payload.meta()?.id, subject).toBe(payload);
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
  const documentOf = (...all: Parameters<typeof messageSchema>[0][]) =>
    asyncApiDocument({ channels: all.map((one) => ({ ...declared, ...one })) });

  it('refuses a subject that is declared twice', () => {
    expect(() => asyncApiDocument({ channels: [declared, declared] })).toThrow('declared twice');
  });

  it('refuses one name for two schemas', () => {
    const payload = z.strictObject({ id: z.int() }).meta({ id: 'HappenedPayload' });
    const other = { ...declared, subject: 'gpuaas.test.other', messageName: 'OtherEvent', payload };
    expect(() => asyncApiDocument({ channels: [declared, other] })).toThrow('declared twice, differently');
  });

  it('refuses a payload without an id', () => {
    expect(() => documentOf({ subject: 'a.b', payload: z.strictObject({ id: z.uuid() }) })).toThrow(
      'the payload has no id',
    );
  });

  it('refuses a null that nullable cannot say', () => {
    const union = z.strictObject({ id: z.union([z.string(), z.int(), z.null()]) }).meta({ id: 'OddPayload' });
    expect(() => documentOf({ subject: 'a.b', payload: union })).toThrow('cannot be said with nullable');
  });

  it('shows both messages of a channel while its previous version is read', () => {
    const previous = previousVersion({
      version: '1.4',
      payload: z.strictObject({ name: z.string() }).meta({ id: 'HappenedPayloadV1' }),
      until: '2027-01-01',
      upgrade: () => ({ id: '0b9f3a52-6f0e-4a53-8a4e-3f1d9f6b2c11' }),
    });
    const shown = asyncApiDocument({ channels: [{ ...declared, version: '2.0', previous }] });
    const operation = objectAt(objectAt(objectAt(shown, 'channels'), declared.subject), 'publish');
    expect(operation['message']).toEqual({
      oneOf: [
        { $ref: '#/components/messages/HappenedEvent' },
        { $ref: '#/components/messages/HappenedEventV1' },
      ],
    });
    const messages = objectAt(objectAt(shown, 'components'), 'messages');
    expect(objectAt(messages, 'HappenedEventV1')['messageId']).toBe('gpuaas.test.happened.v1');
  });
});
