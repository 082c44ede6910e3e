import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger } from '../../activities/platform/logging.ts';
import {
  describeError,
  isSecretKey,
  redacted,
  sanitise,
  sanitiseText,
} from '../../activities/platform/sanitise.ts';
import { canonicalHash } from '../../api/middleware/canonical.ts';

const secretKeys = [
  'password',
  'password_hash',
  'access_token',
  'refresh_token',
  'id_token',
  'ssh_private_key',
  'ssh_private_key_pem',
  'stripe_customer_id',
  'payment_reference',
  'authorization',
  'agent_secret',
  'secret',
  'client_secret',
  'cookie',
  'set-cookie',
  'token',
  'accessToken',
  'AGENT_SECRET',
  'X-Auth-Token',
];
const plainKeys = [
  'name',
  'correlation_id',
  'node_id',
  'tokens_used',
  'secretary',
  'public_key',
  'message',
  'status',
];

/** A tree with one marker somewhere in it, under a secret key or inside a secret-looking text. */
const marker = 'MARKER7c1e';
const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
const secretLeaf = fc.oneof(
  fc.constantFrom(...secretKeys).chain((key) => fc.constant({ [key]: marker })),
  fc.constantFrom(...secretKeys).chain((key) => fc.constant({ [key]: { deep: [marker] } })),
  fc.constantFrom(
    `Authorization: Bearer ${marker}abcdef`,
    `eyJhbGciOiJub25lIn0.${marker}.sig`,
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${marker}\n-----END OPENSSH PRIVATE KEY-----`,
    `-----BEGIN RSA PRIVATE KEY-----\n${marker}`,
    `postgres://user:${marker}@host/db`,
    `?access_token=${marker}&x=1`,
    `{"password":"${marker}"}`,
  ),
);
const wrapped = secretLeaf.chain((secret) =>
  fc
    .array(fc.tuple(fc.constantFrom(...plainKeys), leaf, fc.boolean()), { maxLength: 5 })
    .map((levels) =>
      levels.reduce<unknown>(
        (inner, [key, other, asList]) => (asList ? [other, inner] : { other, [key]: inner }),
        secret,
      ),
    ),
);

describe('the sanitiser', () => {
  it('lets no secret through, wherever it is', () => {
    fc.assert(
      fc.property(wrapped, (value) => !JSON.stringify(sanitise(value)).includes(marker)),
      { numRuns: 500 },
    );
  });

  it('lets no secret through in an error, its causes or a log line', () => {
    fc.assert(
      fc.property(wrapped, (value) => {
        const lines: string[] = [];
        const log = createLogger(
          { process: 't', level: 'info' },
          { write: (line: string) => void lines.push(line) },
        );
        const text = JSON.stringify(value);
        log.info(
          { value, err: new Error('outer', { cause: new Error(typeof value === 'string' ? value : 'x') }) },
          'x',
        );
        log.info(typeof value === 'string' ? value : 'x');
        return text.includes(marker) && !lines.join('').includes(marker);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the fields, and everything else as it is', () => {
    expect(
      sanitise({ password: 'x', name: 'n', list: [1, { token: { a: 1 } }], none: { secret: null } }),
    ).toEqual({
      password: redacted,
      name: 'n',
      list: [1, { token: redacted }],
      none: { secret: null },
    });
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...plainKeys), fc.oneof(fc.integer(), fc.boolean())),
        (value) => {
          expect(sanitise(value)).toEqual({ ...value });
        },
      ),
    );
  });

  it('survives cycles, depth and what is no data', () => {
    const cycle: Record<string, unknown> = { name: 'a' };
    cycle['self'] = cycle;
    expect(sanitise(cycle)).toEqual({ name: 'a', self: '[cycle]' });
    let deep: unknown = 'x';
    for (let n = 0; n < 10_000; n += 1) deep = [deep];
    expect(JSON.stringify(sanitise(deep))).toContain('[deep]');
    expect(sanitise({ big: 1n, bytes: new Uint8Array(3) })).toEqual({ big: '1', bytes: '[3 bytes]' });
  });

  it.each(secretKeys)('knows %s', (key) => expect(isSecretKey(key)).toBe(true));
  it.each(plainKeys)('leaves %s alone', (key) => expect(isSecretKey(key)).toBe(false));

  it('leaves ordinary text alone', () => {
    const text = 'node n-1 took 3 tasks; see https://example.org:8443/a?b=c';
    expect(sanitiseText(text)).toBe(text);
  });

  it('tells of a failed query only what the database said', () => {
    const inner = Object.assign(new Error('duplicate key value'), {
      code: '23505',
      constraint: 'c',
      detail: 'Key (x)=(private)',
    });
    const told = JSON.stringify(
      describeError(new Error('Failed query: insert …\nparams: private', { cause: inner })),
    );
    expect(told).toContain('23505');
    expect(told).not.toContain('private');
  });
});

describe('the canonical hash', () => {
  it('does not depend on the order of keys, and differs with any value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalHash(turned)).toBe(canonicalHash(value));
        expect(canonicalHash({ ...value, added_by_test: 1 })).not.toBe(canonicalHash(value));
      }),
    );
    expect(canonicalHash({ a: undefined })).toBe(canonicalHash({}));
    expect(canonicalHash({ a: null })).not.toBe(canonicalHash({}));
    expect(canonicalHash(['1'])).not.toBe(canonicalHash([1]));
  });
});
