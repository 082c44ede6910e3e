import './reflect-metadata.ts';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const CA_LIFETIME_MS = 3650 * DAY_MS;
const SERVER_LIFETIME_MS = 90 * DAY_MS;
/** A certificate with less than this left is made anew. */
const RENEW_BEFORE_MS = 7 * DAY_MS;
/** Certificates begin a little in the past: the clocks of two machines differ. */
const BACKDATE_MS = 5 * 60_000;

/** Paths of the development keys, by the variables our processes read. All private keys are PKCS #8 PEM, mode 0600. */
export interface DevPki {
  /** Certificate of the internal listener, for 127.0.0.1 and localhost. */
  readonly INTERNAL_TLS_CERT_FILE: string;
  readonly INTERNAL_TLS_KEY_FILE: string;
  /** The authority that signs the listener's and the nodes' certificates. */
  readonly INTERNAL_TLS_CA_FILE: string;
  readonly INTERNAL_TLS_CA_KEY_FILE: string;
  /** Ed25519 key that signs node tasks. */
  readonly TASK_SIGNING_KEY_FILE: string;
  readonly TASK_VERIFY_KEY_FILE: string;
}

function pathsIn(dir: string): DevPki {
  return {
    INTERNAL_TLS_CERT_FILE: path.join(dir, 'internal.crt.pem'),
    INTERNAL_TLS_KEY_FILE: path.join(dir, 'internal.key.pem'),
    INTERNAL_TLS_CA_FILE: path.join(dir, 'ca.crt.pem'),
    INTERNAL_TLS_CA_KEY_FILE: path.join(dir, 'ca.key.pem'),
    TASK_SIGNING_KEY_FILE: path.join(dir, 'task-signing.key.pem'),
    TASK_VERIFY_KEY_FILE: path.join(dir, 'task-signing.pub.pem'),
  };
}

/** Written under another name first: a reader never sees half a file. */
function writePem(file: string, pem: string, mode: number): void {
  writeFileSync(`${file}.new`, pem.endsWith('\n') ? pem : `${pem}\n`, { mode });
  chmodSync(`${file}.new`, mode);
  renameSync(`${file}.new`, file);
}

/** True when the certificate is current, belongs to the key, and was issued by the authority's certificate. */
function isUsable(certFile: string, keyFile: string, caFile: string, nowMs: number): boolean {
  try {
    const certificate = new X509Certificate(readFileSync(certFile));
    const authority = new X509Certificate(readFileSync(caFile));
    return (
      Date.parse(certificate.validFrom) <= nowMs &&
      Date.parse(certificate.validTo) - RENEW_BEFORE_MS > nowMs &&
      certificate.checkPrivateKey(createPrivateKey(readFileSync(keyFile))) &&
      certificate.verify(authority.publicKey)
    );
  } catch {
    return false;
  }
}

function validity(lifetimeMs: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - BACKDATE_MS), notAfter: new Date(Date.now() + lifetimeMs) };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40; // positive, and never shortened by a leading zero
  return Buffer.from(bytes).toString('hex');
}

async function makeAuthority(files: DevPki): Promise<void> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=GPUaaS development authority',
    keys,
    serialNumber: serialNumber(),
    signingAlgorithm: ALGORITHM,
    ...validity(CA_LIFETIME_MS),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  writePem(files.INTERNAL_TLS_CA_KEY_FILE, await exportKey(keys.privateKey), 0o600);
  writePem(files.INTERNAL_TLS_CA_FILE, certificate.toString('pem'), 0o644);
}

async function makeServer(files: DevPki): Promise<void> {
  const authority = new x509.X509Certificate(readFileSync(files.INTERNAL_TLS_CA_FILE, 'utf8'));
  const der = x509.PemConverter.decodeFirst(readFileSync(files.INTERNAL_TLS_CA_KEY_FILE, 'utf8'));
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=gpuaas-internal',
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey,
    serialNumber: serialNumber(),
    signingAlgorithm: ALGORITHM,
    ...validity(SERVER_LIFETIME_MS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth], false),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  writePem(files.INTERNAL_TLS_KEY_FILE, await exportKey(keys.privateKey), 0o600);
  writePem(files.INTERNAL_TLS_CERT_FILE, certificate.toString('pem'), 0o644);
}

function makeTaskKeys(files: DevPki): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  writePem(
    files.TASK_SIGNING_KEY_FILE,
    privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    0o600,
  );
  writePem(files.TASK_VERIFY_KEY_FILE, publicKey.export({ type: 'spki', format: 'pem' }).toString(), 0o644);
}

function taskKeysMatch(files: DevPki): boolean {
  try {
    const derived = createPublicKey(readFileSync(files.TASK_SIGNING_KEY_FILE, 'utf8'));
    return derived.equals(createPublicKey(readFileSync(files.TASK_VERIFY_KEY_FILE, 'utf8')));
  } catch {
    return false;
  }
}

/**
 * Makes what is missing, expired (or within seven days of it) or does not belong together, in `<stateDir>/pki`.
 * A new authority brings a new server certificate; certificates of nodes then have to be enrolled again.
 * @param nowMs the instant, in Unix milliseconds, at which certificates must be good.
 * @returns the file paths, by variable.
 */
export async function ensureDevPki(stateDir: string, nowMs: number = Date.now()): Promise<DevPki> {
  const dir = path.join(stateDir, 'pki');
  if (!existsSync(dir)) mkdirSync(dir, { recursive: true, mode: 0o755 });
  const files = pathsIn(dir);
  const { INTERNAL_TLS_CA_FILE: ca, INTERNAL_TLS_CA_KEY_FILE: caKey } = files;
  if (!isUsable(ca, caKey, ca, nowMs)) await makeAuthority(files);
  if (!isUsable(files.INTERNAL_TLS_CERT_FILE, files.INTERNAL_TLS_KEY_FILE, ca, nowMs))
    await makeServer(files);
  if (!taskKeysMatch(files)) makeTaskKeys(files);
  return files;
}
