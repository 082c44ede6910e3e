/** The embedded issuer's protocol: oidc-provider configured to answer as Keycloak does. */
import { createPublicKey } from 'node:crypto';
import { jwtVerify } from 'jose';
import Provider, {
  errors,
  type Account,
  type Configuration,
  type KoaContextWithOIDC,
  type ResourceServer,
  type TokenEndpointGrantContext,
} from 'oidc-provider';
import { signingKey, type IssuerKeySet } from './keys.ts';
import { authenticate, findUserBySub, REALM, type RealmUser } from './realm.ts';
import { adapterOver, type IssuerStore } from './store.ts';

/** Where the tokens are meant for: oidc-provider wants an absolute URI, the token carries `REALM.audience`. */
const RESOURCE = `urn:${REALM.audience}`;
const OPENID = 'openid';
const KNOWN_SCOPES: readonly string[] = [OPENID, ...REALM.defaultScopes];
const INTERACTION_TTL_SECONDS = 600;
const AUTHORIZATION_CODE_TTL_SECONDS = 60;
const PROTOCOL_PATH = '/protocol/openid-connect';

/** Access tokens are signed JWTs for the API; their lifetime is the provider's `ttl.AccessToken`. */
const RESOURCE_SERVER = {
  scope: KNOWN_SCOPES.join(' '),
  audience: REALM.audience,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: 'RS256' } },
} as const satisfies ResourceServer;

export interface ProviderOptions {
  readonly issuerUrl: string;
  readonly keys: IssuerKeySet;
  readonly store: IssuerStore;
  readonly accessTokenTtlSeconds: number;
  readonly cookieKey: string;
}

const profileClaims = (user: RealmUser): Record<string, unknown> => ({
  ...(user.orgId === null ? {} : { org_id: user.orgId }),
  preferred_username: user.username,
  email: user.email,
  email_verified: true,
  name: `${user.firstName} ${user.lastName}`,
  given_name: user.firstName,
  family_name: user.lastName,
});

function accountOf(sub: string): Account | undefined {
  const user = findUserBySub(sub);
  if (user === undefined) return undefined;
  return {
    accountId: sub,
    claims: async () => ({ sub, typ: 'ID', azp: REALM.client.id, ...profileClaims(user) }),
  };
}

/** Scopes granted for a request: what was asked plus the defaults. Throws invalid_scope on one the realm lacks. */
function grantedScopes(requested: unknown): string[] {
  const asked = typeof requested === 'string' ? requested.split(' ').filter((scope) => scope !== '') : [];
  const unknown = asked.find((scope) => !KNOWN_SCOPES.includes(scope));
  if (unknown !== undefined) throw new errors.InvalidScope('requested scope is not known', unknown);
  return KNOWN_SCOPES.filter((scope) => asked.includes(scope) || scope !== OPENID);
}

/** A saved grant of these scopes to the realm's client. */
async function newGrant(provider: Provider, sub: string, scopes: readonly string[]): Promise<string> {
  const grant = new provider.Grant({ accountId: sub, clientId: REALM.client.id });
  grant.addOIDCScope(scopes.join(' '));
  grant.addResourceScope(RESOURCE, scopes.join(' '));
  return grant.save();
}

async function idTokenFor(ctx: TokenEndpointGrantContext, user: RealmUser, sid: string): Promise<string> {
  const token = new ctx.oidc.provider.IdToken({ sub: user.sub }, { ctx });
  const claims = { sub: user.sub, typ: 'ID', azp: REALM.client.id, sid, ...profileClaims(user) };
  for (const [name, value] of Object.entries(claims)) token.set(name, value);
  return token.issue({ use: 'idtoken' });
}

/** The `password` grant: user name and password of a development user for an access and a refresh token. */
async function passwordGrant(ctx: TokenEndpointGrantContext): Promise<void> {
  const { provider, client, params } = ctx.oidc;
  const user = authenticate(params['username'], params['password']);
  if (user === undefined) {
    const refused = new errors.InvalidGrant('invalid user credentials');
    refused.error_description = 'Invalid user credentials';
    throw refused;
  }
  const scopes = grantedScopes(params['scope']);
  const scope = scopes.join(' ');
  const grantId = await newGrant(provider, user.sub, scopes);
  const shared = { accountId: user.sub, client, grantId, gty: 'password', scope };

  const accessToken = new provider.AccessToken({
    ...shared,
    resourceServer: new provider.ResourceServer(RESOURCE, RESOURCE_SERVER),
  });
  ctx.oidc.entity('Account', accountOf(user.sub));
  ctx.oidc.entity('AccessToken', accessToken);
  const accessTokenValue = await accessToken.save();
  const refreshToken = new provider.RefreshToken({ ...shared, resource: RESOURCE, rotations: 0 });
  const refreshTokenValue = await refreshToken.save();
  ctx.body = {
    access_token: accessTokenValue,
    expires_in: accessToken.expiration,
    refresh_expires_in: refreshToken.expiration,
    refresh_token: refreshTokenValue,
    token_type: 'Bearer',
    scope,
    ...(scopes.includes(OPENID) ? { id_token: await idTokenFor(ctx, user, grantId) } : {}),
  };
}

/** The claims of an access token beside the registered ones; absent for a token that names no known user. */
function accessTokenClaims(sub: string | undefined, grantId: string | undefined): Record<string, unknown> {
  const user = sub === undefined ? undefined : findUserBySub(sub);
  if (user === undefined) return {};
  return {
    typ: 'Bearer',
    azp: REALM.client.id,
    sid: grantId,
    realm_access: { roles: [...user.roles] },
    ...profileClaims(user),
  };
}

/**
 * Introspection of an access token. oidc-provider refuses to introspect a JWT; Keycloak does it, so the refusal
 * (which comes only after the client has proved itself) is turned into the answer: active while the signature,
 * the expiry and the session behind the token are good.
 */
async function introspectJwt(ctx: KoaContextWithOIDC, options: ProviderOptions): Promise<object> {
  const token = ctx.oidc.params?.['token'];
  if (typeof token !== 'string') return { active: false };
  const key = createPublicKey({ key: { ...signingKey(options.keys) }, format: 'jwk' });
  try {
    const { payload } = await jwtVerify(token, key, { issuer: options.issuerUrl, algorithms: ['RS256'] });
    const grant = options.store.find('Grant', String(payload['sid']));
    if (grant === undefined) return { active: false };
    const username = payload['preferred_username'];
    return { ...payload, active: true, client_id: payload['azp'], username, token_type: 'Bearer' };
  } catch {
    return { active: false };
  }
}

const FEATURES: NonNullable<Configuration['features']> = {
  devInteractions: { enabled: false },
  userinfo: { enabled: false },
  encryption: { enabled: true },
  introspection: { enabled: true },
  revocation: { enabled: true },
  rpInitiatedLogout: { enabled: true },
  resourceIndicators: {
    enabled: true,
    defaultResource: () => RESOURCE,
    getResourceServerInfo: (_ctx, resource) => {
      if (resource !== RESOURCE) throw new errors.InvalidTarget();
      return RESOURCE_SERVER;
    },
    useGrantedResource: () => true,
  },
};

/** Keycloak's paths, below the realm's. */
const ROUTES = {
  authorization: `${PROTOCOL_PATH}/auth`,
  token: `${PROTOCOL_PATH}/token`,
  introspection: `${PROTOCOL_PATH}/token/introspect`,
  revocation: `${PROTOCOL_PATH}/revoke`,
  jwks: `${PROTOCOL_PATH}/certs`,
  end_session: `${PROTOCOL_PATH}/logout`,
};

function configuration(options: ProviderOptions): Configuration {
  const { client, defaultScopes } = REALM;
  return {
    adapter: adapterOver(options.store),
    jwks: { keys: options.keys.keys.map((key) => ({ ...key })) },
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        grant_types: ['password', 'refresh_token', 'authorization_code'],
        redirect_uris: [...client.redirectUris],
        response_types: ['code'],
        id_token_signed_response_alg: 'RS256',
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    scopes: [...KNOWN_SCOPES],
    claims: {
      openid: ['sub', 'typ', 'azp', 'org_id'],
      profile: ['preferred_username', 'name', 'given_name', 'family_name'],
      email: ['email', 'email_verified'],
    },
    cookies: { keys: [options.cookieKey] },
    findAccount: (_ctx, sub) => accountOf(sub),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: () => true,
    ttl: {
      AccessToken: options.accessTokenTtlSeconds,
      IdToken: options.accessTokenTtlSeconds,
      RefreshToken: REALM.refreshTokenTtlSeconds,
      Grant: REALM.sessionTtlSeconds,
      Session: REALM.sessionTtlSeconds,
      Interaction: INTERACTION_TTL_SECONDS,
      AuthorizationCode: AUTHORIZATION_CODE_TTL_SECONDS,
    },
    extraTokenClaims: (_ctx, token) =>
      'accountId' in token ? accessTokenClaims(token.accountId, token.grantId) : undefined,
    formats: {
      customizers: {
        jwt: (_ctx, _token, parts) => {
          parts.header = { ...parts.header, typ: 'JWT' };
          delete parts.payload['client_id'];
        },
      },
    },
    features: FEATURES,
    interactions: { url: (_ctx, interaction) => `/realms/${REALM.name}/login/${interaction.uid}` },
    loadExistingGrant: async (ctx) => {
      const { provider, session } = ctx.oidc;
      if (session?.accountId === undefined) return undefined;
      // The realm's one client is the product's own: signing in is the consent.
      const known = session.grantIdFor(client.id);
      const grantId = known ?? (await newGrant(provider, session.accountId, [OPENID, ...defaultScopes]));
      return provider.Grant.find(grantId);
    },
    routes: ROUTES,
  };
}

function isOidcContext(ctx: object): ctx is KoaContextWithOIDC {
  return 'oidc' in ctx && typeof ctx.oidc === 'object' && ctx.oidc !== null;
}

/** The configured provider, to be mounted at the path of `issuerUrl`. Throws on an unusable key set. */
export function buildProvider(options: ProviderOptions): Provider {
  const provider = new Provider(options.issuerUrl, configuration(options));
  provider.registerGrantType('password', passwordGrant, ['username', 'password', 'scope']);
  provider.use(async (ctx, next) => {
    const { scope } = ctx.query;
    if (ctx.path === `${PROTOCOL_PATH}/auth` && !Array.isArray(scope)) {
      // The default scopes are added here too, as the password grant does it.
      const asked = scope?.split(' ') ?? [];
      ctx.query = { ...ctx.query, scope: [...new Set([...asked, ...REALM.defaultScopes])].join(' ') };
    }
    await next();
    const body: unknown = ctx.body;
    const refused = typeof body === 'object' && body !== null && 'error' in body ? body.error : undefined;
    if (refused === 'unsupported_token_type' && isOidcContext(ctx) && ctx.oidc.route === 'introspection') {
      ctx.body = await introspectJwt(ctx, options);
      ctx.status = 200;
    }
  });
  return provider;
}
