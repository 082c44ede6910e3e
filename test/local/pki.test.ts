import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureDevPki, type DevPki } from '../../workers/local/pki.ts';

let dir: string;
let files: DevPki;

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'gpuaas-pki-'));
  files = await ensureDevPki(dir);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** True when a TLS client that trusts only our authority accepts the listener under this name. */
async function handshake(servername: string): Promise<boolean> {
  const server = createServer({
    cert: readFileSync(files.INTERNAL_TLS_CERT_FILE),
    key: readFileSync(files.INTERNAL_TLS_KEY_FILE),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const host = '127.0.0.1';
  const ca = readFileSync(files.INTERNAL_TLS_CA_FILE);
  const socket = connect({ port, host, ca, ...(servername === host ? {} : { servername }) });
  try {
    await once(socket, 'secureConnect');
    return socket.authorized;
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('development keys', () => {
  it.each(['127.0.0.1', 'localhost'])('serve TLS as %s', async (name) => {
    expect(await handshake(name)).toBe(true);
  });

  it('do not serve another name', async () => {
    await expect(handshake('example.com')).rejects.toThrow(/altnames/);
  });

  it('sign and verify a task', () => {
    const task = Buffer.from('task');
    const signature = sign(null, task, createPrivateKey(readFileSync(files.TASK_SIGNING_KEY_FILE)));
    const publicKey = createPublicKey(readFileSync(files.TASK_VERIFY_KEY_FILE));
    expect(verify(null, task, publicKey, signature)).toBe(true);
    expect(verify(null, Buffer.from('other'), publicKey, signature)).toBe(false);
  });

  it('keep private keys to their owner', () => {
    const keys = [files.INTERNAL_TLS_KEY_FILE, files.INTERNAL_TLS_CA_KEY_FILE, files.TASK_SIGNING_KEY_FILE];
    for (const file of keys) expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('stay as they are while they are good', async () => {
    const before = Object.values(files).map((file: string) => readFileSync(file, 'utf8'));
    await ensureDevPki(dir);
    expect(Object.values(files).map((file: string) => readFileSync(file, 'utf8'))).toEqual(before);
  });

  it('are made anew when they do not belong together', async () => {
    const authority = readFileSync(files.INTERNAL_TLS_CA_FILE, 'utf8');
    writeFileSync(files.INTERNAL_TLS_KEY_FILE, readFileSync(files.INTERNAL_TLS_CA_KEY_FILE));
    await ensureDevPki(dir);
    expect(await handshake('localhost')).toBe(true);
    expect(readFileSync(files.INTERNAL_TLS_CA_FILE, 'utf8')).toBe(authority);
  });

  it('are made anew when they expire within a week', async () => {
    const before = readFileSync(files.INTERNAL_TLS_CERT_FILE, 'utf8');
    await ensureDevPki(dir, Date.now() + 84 * 86_400_000);
    expect(readFileSync(files.INTERNAL_TLS_CERT_FILE, 'utf8')).not.toBe(before);
    expect(await handshake('localhost')).toBe(true);
  });
});
