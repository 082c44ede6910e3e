/** The issuer's keys: one that signs and, as Keycloak's set has it, one for encryption that verifiers must ignore. */
import { generateKeyPairSync, randomUUID, type JsonWebKey } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface IssuerJwk extends JsonWebKey {
  readonly kid: string;
  readonly use: 'sig' | 'enc';
  readonly alg: 'RS256' | 'RSA-OAEP';
}

/** Private keys; the file that holds them is readable by its owner only. */
export interface IssuerKeySet {
  readonly keys: readonly IssuerJwk[];
}

const KEY_FILE = 'issuer-keys.json';
const MODULUS_LENGTH_BITS = 2048;

function newKey(use: IssuerJwk['use'], alg: IssuerJwk['alg']): IssuerJwk {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: MODULUS_LENGTH_BITS });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use, alg };
}

function isKeySet(value: unknown): value is IssuerKeySet {
  if (typeof value !== 'object' || value === null || !('keys' in value) || !Array.isArray(value.keys))
    return false;
  const uses = value.keys.map((key: unknown) =>
    typeof key === 'object' && key !== null && 'use' in key && 'd' in key && 'kid' in key
      ? key.use
      : undefined,
  );
  return uses.length === 2 && uses.includes('sig') && uses.includes('enc');
}

/**
 * Reads the key set kept in `stateDir`, creating it on first use, so that tokens outlive a restart.
 * Throws when the file is there but is not a key set: replacing it silently would invalidate every token.
 */
export function loadKeys(stateDir: string): IssuerKeySet {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const file = join(stateDir, KEY_FILE);
  let text: string | undefined;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  if (text !== undefined) {
    const parsed: unknown = JSON.parse(text);
    if (!isKeySet(parsed))
      throw new Error(`${file} does not hold the issuer's keys: delete it to create new ones`);
    return parsed;
  }
  const created: IssuerKeySet = { keys: [newKey('sig', 'RS256'), newKey('enc', 'RSA-OAEP')] };
  const draft = `${file}.${process.pid}.draft`;
  writeFileSync(draft, JSON.stringify(created), { mode: 0o600 });
  renameSync(draft, file);
  return created;
}

/** The signing key of a set. */
export function signingKey(set: IssuerKeySet): IssuerJwk {
  const key = set.keys.find((candidate) => candidate.use === 'sig');
  if (key === undefined) throw new Error('the key set has no signing key');
  return key;
}
