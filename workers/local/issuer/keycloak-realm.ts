/** The realm as Keycloak imports it, made from the same data the embedded issuer serves. */
import { REALM, type RealmUser } from './realm.ts';

/** Who may see and change a profile attribute. */
const attribute = (name: string, edit: readonly string[]) => ({
  name,
  permissions: { view: ['admin', 'user'], edit },
  multivalued: false,
});

/** First and last name are not required here: a user without them could not sign in ("not fully set up"). */
const USER_PROFILE = {
  attributes: [
    attribute('username', ['admin', 'user']),
    attribute('email', ['admin', 'user']),
    attribute('firstName', ['admin', 'user']),
    attribute('lastName', ['admin', 'user']),
    // Tenancy hangs on this one: were it editable by its user, anyone could move to another organisation.
    attribute('org_id', ['admin']),
  ],
};

const AUDIENCE_MAPPER = {
  name: 'audience',
  protocol: 'openid-connect',
  protocolMapper: 'oidc-audience-mapper',
  config: {
    'included.client.audience': REALM.audience,
    'access.token.claim': 'true',
    'introspection.token.claim': 'true',
    'id.token.claim': 'false',
  },
};

const ORG_ID_MAPPER = {
  name: 'org_id',
  protocol: 'openid-connect',
  protocolMapper: 'oidc-usermodel-attribute-mapper',
  config: {
    'user.attribute': 'org_id',
    'claim.name': 'org_id',
    'jsonType.label': 'String',
    'access.token.claim': 'true',
    'introspection.token.claim': 'true',
    'id.token.claim': 'true',
    'userinfo.token.claim': 'true',
  },
};

const importedUser = (user: RealmUser) => ({
  id: user.sub,
  username: user.username,
  enabled: true,
  email: user.email,
  emailVerified: true,
  firstName: user.firstName,
  lastName: user.lastName,
  attributes: user.orgId === null ? {} : { org_id: [user.orgId] },
  credentials: [{ type: 'password', value: user.password, temporary: false }],
  realmRoles: user.roles,
});

/** Keycloak's realm representation. `accessTokenTtlSeconds` is the lifetime of an access token. */
export function keycloakRealm(accessTokenTtlSeconds: number): object {
  return {
    realm: REALM.name,
    enabled: true,
    sslRequired: 'external',
    registrationAllowed: false,
    bruteForceProtected: false,
    accessTokenLifespan: accessTokenTtlSeconds,
    ssoSessionIdleTimeout: REALM.refreshTokenTtlSeconds,
    ssoSessionMaxLifespan: REALM.sessionTtlSeconds,
    revokeRefreshToken: true,
    refreshTokenMaxReuse: 0,
    roles: { realm: REALM.roles.map((name) => ({ name })) },
    clients: [
      {
        clientId: REALM.client.id,
        secret: REALM.client.secret,
        enabled: true,
        protocol: 'openid-connect',
        publicClient: false,
        clientAuthenticatorType: 'client-secret',
        standardFlowEnabled: true,
        directAccessGrantsEnabled: true,
        serviceAccountsEnabled: false,
        redirectUris: REALM.client.redirectUris,
        attributes: { 'pkce.code.challenge.method': 'S256' },
        protocolMappers: [AUDIENCE_MAPPER, ORG_ID_MAPPER],
      },
    ],
    users: REALM.users.map(importedUser),
    components: {
      'org.keycloak.userprofile.UserProfileProvider': [
        {
          providerId: 'declarative-user-profile',
          config: { 'kc.user.profile.config': [JSON.stringify(USER_PROFILE)] },
        },
      ],
    },
  };
}
