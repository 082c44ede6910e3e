import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUuid } from '../../contracts/ids.ts';
import { uuid5 } from '../../contracts/uuid5.ts';

/** RFC 9562 version 5 by its own words: sha1 of namespace and name, version and variant set. */
function reference(name: string): string {
  const namespace = Buffer.from('6f1c4a0e5d0b5a8e9a1b3c7d2e4f6a80', 'hex');
  const hex = createHash('sha1').update(namespace).update(name).digest('hex').slice(0, 32).split('');
  hex[12] = '5';
  hex[16] = ((Number.parseInt(hex[16] ?? '0', 16) & 0x3) | 0x8).toString(16);
  return hex.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

describe('uuid5', () => {
  it.each([
    [['event', 'gpuaas.provisioning.active', 'a'], '5:event;26:gpuaas.provisioning.active;1:a;'],
    [['org', 'grün'], '3:org;5:grün;'],
    [[''], '0:;'],
    [[], ''],
  ] as const)('of %j is the hash of the length-prefixed parts', (parts, name) => {
    expect(uuid5(...parts)).toBe(reference(name));
  });

  it('never changes: ids of stored rows are made with it', () => {
    expect(uuid5('allocation', 'x')).toBe('515f9ad9-ae3c-5edd-b09f-402eec1589fe');
    expect(uuid5('event', 'a', 'b')).not.toBe(uuid5('event', 'ab'));
  });

  it('is a valid version 5 uuid, the same for the same parts and another for others', () => {
    const parts = fc.array(fc.string({ unit: 'binary' }), { maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const id = uuid5(...one);
        expect(isUuid(id)).toBe(true);
        expect(id).toMatch(/^.{14}5.{4}[89ab]/);
        expect(uuid5(...one)).toBe(id);
        const bytes = (list: readonly string[]): string =>
          JSON.stringify(list.map((part) => Buffer.from(part).toString('hex')));
        if (bytes(one) !== bytes(other)) expect(uuid5(...other)).not.toBe(id);
      }),
    );
  });
});
