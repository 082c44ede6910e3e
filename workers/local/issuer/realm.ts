/**
 * The one description of the development realm. Both issuers (the embedded one and Keycloak) are built from
 * it, so a user, a role or a lifetime can not differ between them. Development credentials only: nothing here
 * is a secret, and neither issuer starts in production.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

export type RealmRole = 'user' | 'admin';

/** A development user. `sub` and `orgId` are UUIDs; `orgId` is null for a user who belongs to no organisation. */
export interface RealmUser {
  readonly sub: string;
  readonly username: string;
  readonly password: string;
  readonly firstName: string;
  readonly lastName: string;
  readonly email: string;
  readonly orgId: string | null;
  readonly roles: readonly RealmRole[];
}

export const DEV_ORG_ID = '0d000000-0000-4000-8000-0000000000d1';
export const OTHER_ORG_ID = '0d000000-0000-4000-8000-0000000000d2';

const user = (
  serial: number,
  username: string,
  password: string,
  orgId: string | null,
  ...roles: readonly RealmRole[]
): RealmUser => ({
  sub: `0a000000-0000-4000-8000-${String(serial).padStart(12, '0')}`,
  username,
  password,
  firstName: username.split('-')[0] ?? username,
  lastName: username.split('-')[1] ?? username,
  email: `${username}@gpuaas.local`,
  orgId,
  roles,
});

export const REALM = {
  name: 'gpuaas',
  client: {
    id: 'gpuaas-api',
    secret: 'dev-client-secret',
    redirectUris: ['http://127.0.0.1:8090/auth/callback', 'http://localhost:8090/auth/callback'],
  },
  /** The value every access token carries in `aud`. */
  audience: 'gpuaas-api',
  roles: ['user', 'admin'],
  /** Scopes every token gets whether asked for or not; `openid` is added on request and brings an ID token. */
  defaultScopes: ['email', 'profile'],
  accessTokenTtlSeconds: 300,
  /** A refresh token unused for this long is dead; each use replaces it. */
  refreshTokenTtlSeconds: 1_800,
  /** A session ends after this long however often it is refreshed. */
  sessionTtlSeconds: 36_000,
  users: [
    user(1, 'dev-user', 'dev123', DEV_ORG_ID, 'user'),
    user(2, 'dev-admin', 'admin123', DEV_ORG_ID, 'user', 'admin'),
    user(3, 'other-user', 'other123', OTHER_ORG_ID, 'user'),
    user(4, 'peer-user', 'peer123', DEV_ORG_ID, 'user'),
    user(5, 'solo-user', 'solo123', null, 'user'),
  ],
} as const satisfies {
  name: string;
  client: { id: string; secret: string; redirectUris: readonly string[] };
  audience: string;
  roles: readonly RealmRole[];
  defaultScopes: readonly string[];
  accessTokenTtlSeconds: number;
  refreshTokenTtlSeconds: number;
  sessionTtlSeconds: number;
  users: readonly RealmUser[];
};

/** The issuer identifier (`iss`) of a realm served on a loopback port. */
export function issuerUrlFor(port: number): string {
  return `http://127.0.0.1:${port}/realms/${REALM.name}`;
}

/** The user with this `sub`, or undefined. */
export function findUserBySub(sub: string): RealmUser | undefined {
  return REALM.users.find((candidate) => candidate.sub === sub);
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Compares two secrets without leaking where they differ. */
export function secretsEqual(left: string, right: string): boolean {
  return timingSafeEqual(digest(left), digest(right));
}

/** The user these credentials belong to, or undefined; user names are matched without regard to case. */
export function authenticate(username: unknown, password: unknown): RealmUser | undefined {
  if (typeof username !== 'string' || typeof password !== 'string') return undefined;
  const found = REALM.users.find((candidate) => candidate.username === username.toLowerCase());
  const matches = secretsEqual(found?.password ?? '', password);
  return found !== undefined && matches ? found : undefined;
}
