import { createHash } from 'node:crypto';
import sshpk from 'sshpk';
import { validationError } from '../middleware/errors.ts';

/** A public key in its normal form. */
export interface SshPublicKey {
  readonly type: string;
  /** As OpenSSH prints it: `SHA256:` and base64 without padding. */
  readonly fingerprint: string;
  /** Type and base64 key, no comment. */
  readonly publicKey: string;
}

const minRsaBits = 2048;
const maxRsaBits = 16_384;
const base64 = /^[A-Za-z0-9+/]+={0,2}$/;
const curves: Readonly<Record<string, string>> = {
  'ecdsa-sha2-nistp256': 'nistp256',
  'ecdsa-sha2-nistp384': 'nistp384',
  'ecdsa-sha2-nistp521': 'nistp521',
};
const plainTypes = new Set(['ssh-ed25519', 'ssh-rsa', ...Object.keys(curves)]);
/** Keys on hardware: the same key with the name of its application behind it. */
const hardwareTypes: ReadonlyMap<string, string> = new Map([
  ['sk-ssh-ed25519@openssh.com', 'ssh-ed25519'],
  ['sk-ecdsa-sha2-nistp256@openssh.com', 'ecdsa-sha2-nistp256'],
]);

/**
 * Reads one line of an authorized_keys file that holds a key and, at most, a comment.
 * @throws CodedError validation_error that says what is wrong, never what was given.
 */
export function parseSshPublicKey(text: string): SshPublicKey {
  const line = text.trim();
  if (/PRIVATE KEY/.test(line))
    throw refuse('private_key', 'This is a private key: keep it to yourself and make a new one.');
  // Anything that breaks a line or a terminal would change the meaning of an authorized_keys file.
  if (/[\r\n]/.test(line)) throw refuse('several_lines', 'One key in one line is needed.');
  if (/\p{Cc}/u.test(line.replaceAll('\t', ' ')))
    throw refuse('invalid_text', 'The line holds a control character.');
  const [type = '', encoded = ''] = line.split(/[ \t]+/, 2);
  if (type === 'ssh-dss') throw refuse('weak_key', 'DSA keys are not accepted.');
  if (!plainTypes.has(type) && !hardwareTypes.has(type)) {
    throw refuse('unknown_type', 'The line must start with a key type, without options.');
  }
  const blob = Buffer.from(encoded, 'base64');
  // Only the one spelling of the bytes is taken, so that the stored line is exactly the key.
  const canonical = blob.toString('base64');
  if (!base64.test(encoded) || canonical !== encoded) throw refuse('invalid_key', 'The key is not base64.');
  checkBlob(type, blob);
  const fingerprint = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '');
  return { type, fingerprint: `SHA256:${fingerprint}`, publicKey: `${type} ${canonical}` };
}

const refuse = (code: string, message: string) => validationError({ path: 'body.public_key', code, message });

function checkBlob(type: string, blob: Buffer): void {
  const fields = readFields(blob);
  if (fields[0]?.toString('latin1') !== type)
    throw refuse('invalid_key', 'The key is not of the type that the line says.');
  const plainType = hardwareTypes.get(type);
  if (plainType !== undefined) {
    const application = fields.pop();
    if (application === undefined || application.length === 0)
      throw refuse('invalid_key', 'The key names no application.');
    checkPlain(plainType, encodeFields([Buffer.from(plainType), ...fields.slice(1)]), fields.length);
    return;
  }
  checkPlain(type, blob, fields.length);
}

const fieldCounts: Readonly<Record<string, number>> = { 'ssh-ed25519': 2, 'ssh-rsa': 3 };

function checkPlain(type: string, blob: Buffer, fieldCount: number): void {
  if (fieldCount !== (fieldCounts[type] ?? 3)) throw refuse('invalid_key', 'The key is damaged.');
  let key: sshpk.Key;
  try {
    key = sshpk.parseKey(`${type} ${blob.toString('base64')}`, 'ssh');
  } catch {
    throw refuse('invalid_key', 'The key is damaged.');
  }
  if (key.type === 'rsa' && (key.size < minRsaBits || key.size > maxRsaBits)) {
    throw refuse('weak_key', `RSA keys need ${minRsaBits} to ${maxRsaBits} bits.`);
  }
  if (key.type === 'ecdsa' && key.curve !== curves[type])
    throw refuse('invalid_key', 'The key is on another curve.');
  if (key.toString('ssh').split(' ')[1] !== blob.toString('base64'))
    throw refuse('invalid_key', 'The key is damaged.');
}

/** The length-prefixed fields of a key in SSH wire format; all of the bytes must belong to one. */
function readFields(blob: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at < blob.length;) {
    const length = at + 4 <= blob.length ? blob.readUInt32BE(at) : Infinity;
    const end = at + 4 + length;
    if (end > blob.length) throw refuse('invalid_key', 'The key is damaged.');
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

function encodeFields(fields: readonly Buffer[]): Buffer {
  return Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  );
}
