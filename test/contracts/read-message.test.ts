import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { artifactVerified } from '../../contracts/artifacts/artifact.events.ts';
import {
  channel,
  previousVersion,
  readMessage,
  usualDelivery,
  type AnyChannel,
} from '../../contracts/envelope.ts';
import { validMessages, versioned } from './messages.ts';

const subject = 'gpuaas.test.meter_read';
const uuid = '0b9f3a52-6f0e-4a53-8a4e-3f1d9f6b2c11';
const shared = {
  subject,
  messageName: 'MeterReadEvent',
  operationId: 'publishMeterRead',
  direction: 'publish',
  nats: usualDelivery,
} as const;

const meter = z.strictObject({ meter_id: z.uuid(), place: z.strictObject({ rack: z.string() }) });
const payloadV10 = meter.extend({ watts: z.int().min(0) }).meta({ id: 'MeterReadPayload' });
const payloadV11 = payloadV10
  .extend({
    unit: z.enum(['watt']).optional(),
    place: z.strictObject({ rack: z.string(), slot: z.int().min(0).optional() }),
  })
  .meta({ id: 'MeterReadPayload' });
const payloadV20 = meter
  .extend({ milliwatts: z.int().min(0), unit: z.enum(['watt']).optional() })
  .meta({ id: 'MeterReadPayload' });

/** The same channel as four releases of the product declare it. */
const releases = {
  '1.0': channel({ ...shared, version: '1.0', payload: payloadV10 }),
  '1.1': channel({ ...shared, version: '1.1', payload: payloadV11 }),
  '2.0 in its window': channel({
    ...shared,
    version: '2.0',
    payload: payloadV20,
    previous: previousVersion<typeof payloadV11, typeof payloadV20>({
      version: '1.1',
      payload: payloadV11.meta({ id: 'MeterReadPayloadV1' }),
      until: '2026-03-01',
      upgrade: ({ watts, place, ...rest }) => ({
        ...rest,
        place: { rack: place.rack },
        milliwatts: watts * 1000,
      }),
    }),
  }),
  '2.0': channel({ ...shared, version: '2.0', payload: payloadV20 }),
} as const satisfies Record<string, AnyChannel>;
type Release = keyof typeof releases;

const place = { rack: 'r1' };
const payloads = {
  '0.9': { meter_id: uuid, place, watts: 5 },
  '1.0': { meter_id: uuid, place, watts: 5 },
  '1.1': { meter_id: uuid, place: { ...place, slot: 3 }, watts: 5, unit: 'watt' },
  '1.2': { meter_id: uuid, place: { ...place, slot: 3, shelf: 'b' }, watts: 5, unit: 'watt', phase: 2 },
  '2.0': { meter_id: uuid, place, milliwatts: 5000 },
  '2.1': { meter_id: uuid, place, milliwatts: 5000, accuracy: 'high' },
} as const;
type Version = keyof typeof payloads;
const versions = Object.keys(payloads) as Version[];

const envelope = (version: string, payload: unknown) => ({
  event_id: uuid,
  event_type: subject,
  occurred_at: '2026-02-01T00:00:00Z',
  version,
  correlation_id: 'c-1',
  payload,
});
const inWindow = new Date('2026-02-28T23:59:59.999Z');
const read = (release: Release, message: unknown, at?: Date) =>
  readMessage<AnyChannel>(releases[release], JSON.stringify(message), at);

describe('every release reads every version', () => {
  const strict10 = { meter_id: uuid, place, watts: 5 };
  const strict11 = payloads['1.1'];
  const upgraded = { meter_id: uuid, place, milliwatts: 5000 };
  const refused = 'unsupported_version';
  /** Release of the consumer, version of the message, what the consumer gets. */
  const table: readonly (readonly [Release, Version, object | typeof refused])[] = [
    ['1.0', '0.9', refused],
    ['1.0', '1.0', strict10],
    ['1.0', '1.1', strict10],
    ['1.0', '1.2', strict10],
    ['1.0', '2.0', refused],
    ['1.0', '2.1', refused],
    ['1.1', '0.9', refused],
    ['1.1', '1.0', strict10],
    ['1.1', '1.1', strict11],
    ['1.1', '1.2', strict11],
    ['1.1', '2.0', refused],
    ['1.1', '2.1', refused],
    ['2.0 in its window', '0.9', refused],
    ['2.0 in its window', '1.0', upgraded],
    ['2.0 in its window', '1.1', { ...upgraded, unit: 'watt' }],
    ['2.0 in its window', '1.2', { ...upgraded, unit: 'watt' }],
    ['2.0 in its window', '2.0', upgraded],
    ['2.0 in its window', '2.1', upgraded],
    ['2.0', '0.9', refused],
    ['2.0', '1.0', refused],
    ['2.0', '1.1', refused],
    ['2.0', '1.2', refused],
    ['2.0', '2.0', upgraded],
    ['2.0', '2.1', upgraded],
  ];

  it('in this table, which leaves nothing out', () => {
    const all = Object.keys(releases).flatMap((release) => versions.map((version) => [release, version]));
    expect(table.map(([release, version]) => [release, version])).toEqual(all);
  });

  it.each(table)('%s reads %s', (release, version, expected) => {
    const result = read(release, envelope(version, payloads[version]), inWindow);
    if (expected === refused) {
      expect(result).toMatchObject({ ok: false, reason: refused });
      return;
    }
    const kept = release === '2.0 in its window' && version.startsWith('1.') ? '2.0' : version;
    expect(result).toEqual({ ok: true, event: { ...envelope(kept, expected) } });
  });
});

describe('a window', () => {
  const old = envelope('1.0', payloads['1.0']);

  it.each([
    ['the last instant before its day', inWindow, true],
    ['the first instant of its day', new Date('2026-03-01T00:00:00Z'), false],
    ['no instant', undefined, true],
  ])('at %s', (_, at, open) => {
    expect(read('2.0 in its window', old, at).ok).toBe(open);
  });

  it('holds the old version to its own rules', () => {
    const wrong = envelope('1.0', { ...payloads['1.0'], watts: -1 });
    expect(read('2.0 in its window', wrong)).toEqual({
      ok: false,
      reason: 'schema_violation',
      detail: 'payload.watts: too_small',
    });
  });

  it('refuses an upgrade that does not fit the current version', () => {
    const careless = channel({
      ...shared,
      version: '2.0',
      payload: payloadV20,
      previous: previousVersion<typeof payloadV10, typeof payloadV20>({
        version: '1.0',
        payload: payloadV10,
        until: '2026-03-01',
        upgrade: ({ meter_id, place: where, watts }) => ({ meter_id, place: where, milliwatts: -watts }),
      }),
    });
    expect(readMessage(careless, JSON.stringify(old))).toEqual({
      ok: false,
      reason: 'schema_violation',
      detail: 'upgraded milliwatts: too_small',
    });
  });
});

describe('what a newer minor may bring', () => {
  it.each([
    ['a new member', { ...payloads['1.0'], more: { deep: [1] } }, true],
    ['a new member of a member', { ...payloads['1.0'], place: { rack: 'r1', more: 1 } }, true],
    ['no known member', { meter_id: uuid, place, more: 1 }, false],
    ['another type of a known member', { ...payloads['1.0'], watts: '5', more: 1 }, false],
    ['a known member out of bounds', { ...payloads['1.0'], watts: -1 }, false],
  ])('%s', (_, payload, readable) => {
    expect(read('1.0', envelope('1.7', payload)).ok).toBe(readable);
  });

  it('also in the envelope', () => {
    const message = { ...envelope('1.1', payloads['1.0']), trace: 'x' };
    expect(read('1.0', message)).toEqual({ ok: true, event: envelope('1.1', payloads['1.0']) });
  });

  it('is told apart from a typing error at the own minor and below', () => {
    for (const version of ['1.0', '1.1'] as const) {
      const message = envelope(version, { ...payloads['1.1'], wats: 5 });
      expect(read('1.1', message)).toEqual({
        ok: false,
        reason: 'schema_violation',
        detail: 'payload.wats: unrecognized_keys',
      });
    }
  });

  it('works on a channel of the product, in both directions', () => {
    const next = channel({
      ...artifactVerified,
      version: '1.1',
      payload: artifactVerified.payload.extend({ signer: z.string().optional() }),
    });
    const samples = validMessages(artifactVerified.subject);
    expect(samples.length).toBeGreaterThan(10);
    for (const { value, why } of samples) {
      const known = JSON.stringify(versioned(value, '1.0'));
      expect(readMessage(next, known).ok, why).toBe(true);
      const newer = versioned({ ...value, payload: { ...Object(value['payload']), signer: 'a' } }, '1.1');
      expect(readMessage(artifactVerified, JSON.stringify(newer)), why).toEqual({
        ok: true,
        event: versioned(value, '1.1'),
      });
    }
  });
});

describe('what cannot be read', () => {
  const good = envelope('1.0', payloads['1.0']);
  const text = JSON.stringify(good);
  const cases: readonly (readonly [string, string | Uint8Array, string, string])[] = [
    ['no JSON', '{', 'not_json', 'the body is no JSON'],
    ['nothing', '', 'not_json', 'the body is no JSON'],
    ['no UTF-8', new Uint8Array([34, 0xff, 34]), 'not_json', 'the body is no JSON'],
    ['null', 'null', 'schema_violation', 'message: invalid_type'],
    ['a list', `[${text}]`, 'schema_violation', 'message: invalid_type'],
    [
      'another type',
      JSON.stringify({ ...good, event_type: 'a.b' }),
      'unknown_type',
      `event_type is not ${subject}`,
    ],
    [
      'a type that is no string',
      JSON.stringify({ ...good, event_type: 7 }),
      'schema_violation',
      'event_type: invalid_value',
    ],
    ...['2.0', '0.1', '1', 'one', '1.0-beta', '-1.0', '01.0', '1.0.0.0', ''].map(
      (version) =>
        [
          `version ${JSON.stringify(version)}`,
          JSON.stringify({ ...good, version }),
          'unsupported_version',
          'version is not read beside 1.0',
        ] as const,
    ),
    [
      'a version that is a number',
      JSON.stringify({ ...good, version: 1 }),
      'schema_violation',
      'version: invalid_type',
    ],
  ];

  it.each(cases)('%s', (_, body, reason, detail) => {
    expect(readMessage(releases['1.0'], body)).toEqual({ ok: false, reason, detail });
  });

  it('reads bytes and text, and a version with a patch', () => {
    expect(readMessage(releases['1.0'], new TextEncoder().encode(text)).ok).toBe(true);
    expect(readMessage(releases['1.0'], text.replace('"1.0"', '"1.0.4"')).ok).toBe(true);
  });

  it('is told by place and rule, never by value', () => {
    const secret = 'hunter2-Secret';
    const strangers = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`more_${index}`, secret]));
    const message = envelope('1.0', {
      meter_id: secret,
      place: { rack: 7 },
      watts: secret,
      [secret]: 1,
      ...strangers,
    });
    const result = read('1.0', message);
    expect(result).toMatchObject({ ok: false, reason: 'schema_violation' });
    const detail = result.ok ? '' : result.detail;
    expect(detail).not.toContain(secret);
    expect(detail).toContain('payload.meter_id: invalid_format');
    expect(detail).toContain('payload.place.rack: invalid_type');
    expect(detail).toContain('payload.?: unrecognized_keys');
    expect(detail).toMatch(/; \d+ more$/);
  });
});
