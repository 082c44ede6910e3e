/** What an API may rely on whichever issuer runs. Each test file calls this with its own issuer. */
import { expect, it } from 'vitest';
import { decodeJwt } from 'jose';
import {
  asClient,
  comparableClaims,
  expectedClaims,
  passwordGrant,
  publishedKeyUses,
  refreshGrant,
  textOf,
  USERS,
  verified,
} from './tokens.ts';

/** Declares the tests. `issuer` gives the issuer's URL and is read when a test runs. */
export function itBehavesAsAnIssuer(issuer: () => string): void {
  itIssuesTheAgreedTokens(issuer);
  itEndsAndRefuses(issuer);
}

function itIssuesTheAgreedTokens(issuer: () => string): void {
  it('names itself and its endpoints at the paths clients are configured with', async () => {
    const response = await fetch(`${issuer()}/.well-known/openid-configuration`);
    const folder = `${issuer()}/protocol/openid-connect`;
    expect(await response.json()).toMatchObject({
      issuer: issuer(),
      token_endpoint: `${folder}/token`,
      jwks_uri: `${folder}/certs`,
      introspection_endpoint: `${folder}/token/introspect`,
      end_session_endpoint: `${folder}/logout`,
      authorization_endpoint: `${folder}/auth`,
    });
  });

  it('publishes a signing and an encryption key', async () => {
    expect(await publishedKeyUses(issuer())).toEqual(['enc', 'sig']);
  });

  it.each(USERS)('issues $username an access token with exactly the agreed claims', async (user) => {
    const answer = await passwordGrant(issuer(), user.username, user.password);
    // The second may turn between the making of the token and its answer.
    expect([300, 299]).toContain(answer.body['expires_in']);
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'Bearer' } });
    const claims = comparableClaims(await verified(issuer(), textOf(answer, 'access_token')));
    expect(claims).toEqual(expectedClaims(issuer(), user));
  });

  it('adds an ID token for the scope openid, told from an access token by its typ', async () => {
    const answer = await passwordGrant(issuer(), 'dev-user', 'dev123', { scope: 'openid' });
    const idToken = decodeJwt(textOf(answer, 'id_token'));
    const sub = USERS[0].sub;
    expect(idToken).toMatchObject({
      iss: issuer(),
      sub,
      aud: 'gpuaas-api',
      typ: 'ID',
      org_id: USERS[0].org_id,
    });
    expect(decodeJwt(textOf(answer, 'access_token'))).toMatchObject({ typ: 'Bearer' });
  });
}

function itEndsAndRefuses(issuer: () => string): void {
  it('replaces a refresh token at each use and refuses it the second time', async () => {
    const first = await passwordGrant(issuer(), 'dev-admin', 'admin123');
    const second = await refreshGrant(issuer(), textOf(first, 'refresh_token'));
    expect(second.status).toBe(200);
    const claims = comparableClaims(await verified(issuer(), textOf(second, 'access_token')));
    expect(claims).toEqual(expectedClaims(issuer(), USERS[1]));
    expect(textOf(second, 'refresh_token')).not.toBe(textOf(first, 'refresh_token'));
    const again = await refreshGrant(issuer(), textOf(first, 'refresh_token'));
    expect(again).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  it('introspects a token, and no more once its session is logged out', async () => {
    const grant = await passwordGrant(issuer(), 'other-user', 'other123');
    const token = textOf(grant, 'access_token');
    const introspect = () => asClient(issuer(), 'token/introspect', { token });
    const active = { active: true, sub: USERS[2].sub, username: 'other-user', client_id: 'gpuaas-api' };
    expect((await introspect()).body).toMatchObject(active);
    const logout = await asClient(issuer(), 'logout', { refresh_token: textOf(grant, 'refresh_token') });
    expect(logout.status).toBe(204);
    expect(await introspect()).toMatchObject({ status: 200, body: { active: false } });
    expect((await refreshGrant(issuer(), textOf(grant, 'refresh_token'))).status).toBe(400);
  });

  it('refuses a wrong client secret with 401', async () => {
    const answer = await passwordGrant(issuer(), 'dev-user', 'dev123', { client_secret: 'wrong' });
    expect(answer.status).toBe(401);
    expect(answer.body).not.toHaveProperty('access_token');
  });

  it('refuses a wrong password and an unknown user with 400 invalid_grant, locking nobody out', async () => {
    for (const [username, password] of [
      ['dev-user', 'wrong'],
      ['nobody', 'dev123'],
    ] as const) {
      const answer = await passwordGrant(issuer(), username, password);
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    }
    expect((await passwordGrant(issuer(), 'dev-user', 'dev123')).status).toBe(200);
  });

  it('refuses a scope the realm does not have', async () => {
    const answer = await passwordGrant(issuer(), 'dev-user', 'dev123', { scope: 'everything' });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
  });
}
