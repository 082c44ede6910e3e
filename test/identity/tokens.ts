/** Shared by the tests of both issuers: asking for tokens, and the one table of what they must say. */
import { createRemoteJWKSet, jwtVerify, type JWTPayload } from 'jose';
import { DEV_ORG_ID, OTHER_ORG_ID, REALM } from '../../workers/local/issuer/realm.ts';

export interface Answer {
  readonly status: number;
  /** The JSON body; empty where there is none. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Posts a form to a path below the issuer's protocol folder. */
export async function postForm(
  issuerUrl: string,
  path: string,
  form: Record<string, string>,
): Promise<Answer> {
  const url = `${issuerUrl}/protocol/openid-connect/${path}`;
  const response = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
  const text = await response.text();
  const parsed: unknown = text === '' ? {} : JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null) throw new Error(`not an object: ${text}`);
  return { status: response.status, body: { ...parsed } };
}

const CLIENT = { client_id: REALM.client.id, client_secret: REALM.client.secret };

/** Posts a form with the client's own credentials; a field given in `form` takes their place. */
export const asClient = (issuerUrl: string, path: string, form: Record<string, string>): Promise<Answer> =>
  postForm(issuerUrl, path, { ...CLIENT, ...form });

export const passwordGrant = (
  issuerUrl: string,
  username: string,
  password: string,
  more: Record<string, string> = {},
): Promise<Answer> => asClient(issuerUrl, 'token', { grant_type: 'password', username, password, ...more });

export const refreshGrant = (issuerUrl: string, refreshToken: string): Promise<Answer> =>
  asClient(issuerUrl, 'token', { grant_type: 'refresh_token', refresh_token: refreshToken });

/** A member of an answer that must be text. */
export function textOf(answer: Answer, name: string): string {
  const value = answer.body[name];
  if (typeof value !== 'string') throw new Error(`no ${name} in an answer of status ${answer.status}`);
  return value;
}

/** Verifies a token against the issuer's published keys, as an API would. Throws what jose throws. */
export async function verified(issuerUrl: string, token: string): Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL(`${issuerUrl}/protocol/openid-connect/certs`));
  const rules = { issuer: issuerUrl, audience: REALM.audience, algorithms: ['RS256'] };
  const { payload } = await jwtVerify(token, keys, rules);
  return payload;
}

function sortedRoles(access: unknown): unknown {
  if (typeof access !== 'object' || access === null || !('roles' in access) || !Array.isArray(access.roles)) {
    return access;
  }
  return { ...access, roles: access.roles.map(String).sort() };
}

/** The claims both issuers must agree on, in one form: sets sorted, times as a lifetime, random ids as presence. */
export function comparableClaims(payload: JWTPayload): Record<string, unknown> {
  const { iat, exp, jti, sid, aud, scope } = payload;
  return {
    iss: payload.iss,
    sub: payload.sub,
    aud: [aud].flat().map(String).sort(),
    azp: payload['azp'],
    typ: payload['typ'],
    realm_access: sortedRoles(payload['realm_access']),
    org_id: payload['org_id'],
    preferred_username: payload['preferred_username'],
    email: payload['email'],
    email_verified: payload['email_verified'],
    name: payload['name'],
    given_name: payload['given_name'],
    family_name: payload['family_name'],
    scope: typeof scope === 'string' ? scope.split(' ').sort() : scope,
    lifetime_seconds: (exp ?? 0) - (iat ?? 0),
    has_jti: typeof jti === 'string' && jti !== '',
    has_sid: typeof sid === 'string' && sid !== '',
    has_client_id: 'client_id' in payload,
  };
}

/** What the access token of each development user says beside what all say. Written out, not derived. */
// prettier-ignore
export const USERS = [
  { username: 'dev-user',   password: 'dev123',   sub: '0a000000-0000-4000-8000-000000000001', org_id: DEV_ORG_ID,   roles: ['user'],          name: 'dev user' },
  { username: 'dev-admin',  password: 'admin123', sub: '0a000000-0000-4000-8000-000000000002', org_id: DEV_ORG_ID,   roles: ['admin', 'user'], name: 'dev admin' },
  { username: 'other-user', password: 'other123', sub: '0a000000-0000-4000-8000-000000000003', org_id: OTHER_ORG_ID, roles: ['user'],          name: 'other user' },
  { username: 'peer-user',  password: 'peer123',  sub: '0a000000-0000-4000-8000-000000000004', org_id: DEV_ORG_ID,   roles: ['user'],          name: 'peer user' },
  { username: 'solo-user',  password: 'solo123',  sub: '0a000000-0000-4000-8000-000000000005', org_id: undefined,    roles: ['user'],          name: 'solo user' },
] as const;

export type ExpectedUser = (typeof USERS)[number];

/** The whole expectation of a user's access token. */
export function expectedClaims(
  issuerUrl: string,
  user: ExpectedUser,
  lifetimeSeconds = 300,
): Record<string, unknown> {
  const [givenName, familyName] = user.name.split(' ');
  return {
    iss: issuerUrl,
    sub: user.sub,
    aud: ['gpuaas-api'],
    azp: 'gpuaas-api',
    typ: 'Bearer',
    realm_access: { roles: user.roles },
    org_id: user.org_id,
    preferred_username: user.username,
    email: `${user.username}@gpuaas.local`,
    email_verified: true,
    name: user.name,
    given_name: givenName,
    family_name: familyName,
    scope: ['email', 'profile'],
    lifetime_seconds: lifetimeSeconds,
    has_jti: true,
    has_sid: true,
    has_client_id: false,
  };
}

/** The `use` of every published key, sorted. */
export async function publishedKeyUses(issuerUrl: string): Promise<string[]> {
  const response = await fetch(`${issuerUrl}/protocol/openid-connect/certs`);
  const body: unknown = await response.json();
  if (typeof body !== 'object' || body === null || !('keys' in body) || !Array.isArray(body.keys)) return [];
  return body.keys
    .map((key: unknown) => (typeof key === 'object' && key !== null && 'use' in key ? String(key.use) : ''))
    .sort();
}
