import { createHash } from 'node:crypto';

/** Namespace of every id that GPUaaS derives from a business fact. */
const gpuaasNamespace = Buffer.from('6f1c4a0e5d0b5a8e9a1b3c7d2e4f6a80', 'hex');

/**
 * RFC 9562 version 5 uuid of the parts, which are length-prefixed so that no two lists collide.
 * The same business fact always gives the same id, in any process.
 */
export function uuid5(...parts: readonly string[]): string {
  const hash = createHash('sha1').update(gpuaasNamespace);
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part};`);
  const bytes = hash.digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
