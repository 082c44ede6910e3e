import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createTokenClient, createTokenVerifier } from '../../activities/platform/jwks.ts';

/** An upstream that answers what a test tells it: the failures of an issuer, on the wire. */
let server: Server | undefined;
afterEach(
  () => new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve()))),
);

async function upstream(status: number, body: string): Promise<string> {
  const started = createServer((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}/realms/gpuaas`;
}

describe('the token endpoint', () => {
  // prettier-ignore
  it.each([
    [200, '{"access_token":"a","token_type":"Bearer","expires_in":300,"refresh_token":"r"}', undefined],
    [200, '{"hello":1}',                    'upstream_error'],
    [200, '<html>',                         'upstream_error'],
    [400, '{"error":"invalid_grant"}',      'token_invalid'],
    [401, '{"error":"invalid_grant"}',      'token_invalid'],
    [401, '{"error":"invalid_client"}',     'upstream_error'],
    [302, '',                               'upstream_error'],
    [500, '{"error":"boom"}',               'upstream_error'],
    [502, '<html>',                         'upstream_error'],
    [503, '',                               'service_unavailable'],
  ])('answers %i %s: %s', async (status, body, code) => {
    const client = createTokenClient({ issuerUrl: await upstream(status, body), clientId: 'c', clientSecret: 's' });
    const outcome = await client.password('u', 'p').catch((error: unknown) => error);
    if (code === undefined) expect(outcome).toEqual({ access_token: 'a', token_type: 'Bearer', expires_in: 300, refresh_token: 'r' });
    else expect(outcome).toMatchObject({ code });
  });

  it('away: service_unavailable', async () => {
    const client = createTokenClient({
      issuerUrl: 'http://127.0.0.1:9/realms/gpuaas',
      clientId: 'c',
      clientSecret: undefined,
    });
    await expect(client.refresh('r')).rejects.toMatchObject({ code: 'service_unavailable' });
  });
});

describe('keys that cannot be had', () => {
  it.each([
    [500, '{}'],
    [200, '{"keys":[]}'],
    [200, '{"keys":[{"kty":"RSA","use":"enc"}]}'],
    [200, 'rubbish'],
  ])('answer %i %s: service_unavailable, not a bad token', async (status, body) => {
    const verifier = createTokenVerifier({ issuerUrl: await upstream(status, body) });
    const token = 'eyJhbGciOiJSUzI1NiJ9.e30.AAAA';
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'service_unavailable' });
    expect(verifier.hasKeys()).toBe(false);
  });
});
