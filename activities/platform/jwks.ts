import { createHash } from 'node:crypto';
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose';
import { z } from 'zod';
import { CodedError } from '../../contracts/errors.ts';

const isId = (value: unknown): value is string => z.uuid().safeParse(value).success;

/** What a good token says. Ids are lower-case uuids. */
export interface VerifiedToken {
  readonly userId: string;
  /** The organisation; null when the token names none. */
  readonly orgId: string | null;
  readonly roles: readonly ('user' | 'admin')[];
  /** What the issuer calls the user; for the POSIX name only. */
  readonly preferredUsername: string | null;
  /** When it expires, in ms since 1970. */
  readonly expiresAtMs: number;
}

export interface TokenVerifierOptions {
  /** `iss` of the tokens; the keys are at `<issuer>/protocol/openid-connect/certs`. */
  readonly issuerUrl: string;
  /** Told when keys could not be renewed while older ones still serve. */
  readonly onStaleKeys?: (error: unknown) => void;
}

export interface TokenVerifier {
  /**
   * Checks signature, issuer, lifetime and claims of an access token.
   * @throws CodedError token_invalid, token_expired, insufficient_permissions (no role of ours), or
   * service_unavailable when no key could be fetched yet.
   */
  verify(token: string): Promise<VerifiedToken>;
  /** True while keys are cached: tokens can be checked without the issuer. */
  hasKeys(): boolean;
  /** Fetches the keys once. @throws when the issuer does not give them. */
  probe(signal: AbortSignal): Promise<void>;
}

const cacheMs = 5 * 60_000;
const cooldownMs = 30_000;
const fetchTimeoutMs = 3000;
const clockToleranceSeconds = 5;
const algorithms = ['RS256', 'ES256'];

const keySetSchema = z.object({
  keys: z.array(z.looseObject({ kty: z.string(), kid: z.string().optional(), use: z.string().optional() })),
});
const claimsSchema = z.object({
  sub: z.uuid(),
  org_id: z.uuid().nullish(),
  typ: z.literal('Bearer').optional(),
  realm_access: z.object({ roles: z.array(z.string()) }).optional(),
  preferred_username: z.string().optional(),
});

interface CachedKeys {
  readonly resolve: ReturnType<typeof createLocalJWKSet>;
  readonly fetchedAt: number;
}

/** The signing keys of an issuer: kept 5 min, fetched again for an unknown key at most every 30 s. */
class KeyCache {
  #cached: CachedKeys | undefined;
  #attemptedAt = -Infinity;
  #running: Promise<void> | undefined;
  readonly #options: TokenVerifierOptions;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  has(): boolean {
    return this.#cached !== undefined;
  }

  /** The cached keys. Old ones are renewed beside the request; only very old or missing ones make it wait. */
  async get(): Promise<CachedKeys['resolve']> {
    const age = performance.now() - (this.#cached?.fetchedAt ?? -Infinity);
    if (this.#cached === undefined) await this.#renew();
    else if (age > cacheMs && this.#cooledDown()) {
      const renewed = this.#renew().catch(this.#options.onStaleKeys);
      if (age > 2 * cacheMs) await renewed;
    }
    if (this.#cached === undefined) throw new CodedError('service_unavailable');
    return this.#cached.resolve;
  }

  /** Looks for a key that is not among the cached ones. @returns false when it is too early to ask again. */
  async renewForUnknownKey(): Promise<boolean> {
    if (this.#running === undefined && !this.#cooledDown()) return false;
    try {
      await this.#renew();
      return true;
    } catch (error) {
      this.#options.onStaleKeys?.(error);
      return false;
    }
  }

  #cooledDown(): boolean {
    return performance.now() - this.#attemptedAt > cooldownMs;
  }

  /** One fetch at a time, whoever asks. */
  #renew(): Promise<void> {
    this.#running ??= this.fetch(AbortSignal.timeout(fetchTimeoutMs)).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async fetch(signal: AbortSignal): Promise<void> {
    this.#attemptedAt = performance.now();
    try {
      const url = `${this.#options.issuerUrl}/protocol/openid-connect/certs`;
      const answer = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
      if (answer.status !== 200) throw new Error(`the issuer answered ${answer.status} for its keys`);
      const { keys } = keySetSchema.parse(await answer.json());
      const signing = keys.filter((key) => key.use === 'sig');
      if (signing.length === 0) throw new Error('the issuer publishes no signing key');
      const resolve = createLocalJWKSet({ keys: signing } as JSONWebKeySet);
      this.#cached = { resolve, fetchedAt: performance.now() };
    } catch (cause) {
      throw new CodedError('service_unavailable', { cause });
    }
  }
}

const maxVerifiedTokens = 10_000;

/**
 * Tokens whose signature was checked already. One counts only with the very set of keys that it was checked with, so that
 * a key which the issuer withdrew ends with the set that had it, and never beyond its own lifetime. Kept by hash: no
 * token stays in memory.
 */
class VerifiedTokens {
  readonly #entries = new Map<
    string,
    { readonly verified: VerifiedToken; readonly keys: CachedKeys['resolve'] }
  >();

  find(token: string, keys: CachedKeys['resolve']): VerifiedToken | undefined {
    const hash = hashOf(token);
    const entry = this.#entries.get(hash);
    if (entry === undefined) return undefined;
    const endsAtMs = entry.verified.expiresAtMs + clockToleranceSeconds * 1000;
    if (entry.keys === keys && Date.now() < endsAtMs) return entry.verified;
    // What is wrong with it now, the check itself says.
    this.#entries.delete(hash);
    return undefined;
  }

  put(token: string, keys: CachedKeys['resolve'], verified: VerifiedToken): void {
    this.#entries.set(hashOf(token), { verified, keys });
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > maxVerifiedTokens && !oldest.done) this.#entries.delete(oldest.value);
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64');

/** Checks tokens on this machine with the issuer's published keys. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const keys = new KeyCache(options);
  const known = new VerifiedTokens();
  const check = async (token: string): Promise<VerifiedToken> => {
    const rules = {
      issuer: options.issuerUrl,
      algorithms,
      clockTolerance: clockToleranceSeconds,
      requiredClaims: ['sub', 'exp'],
    };
    const resolve = await keys.get();
    const before = known.find(token, resolve);
    if (before !== undefined) return before;
    const verified = readClaims((await jwtVerify(token, resolve, rules)).payload);
    known.put(token, resolve, verified);
    return verified;
  };
  return {
    hasKeys: () => keys.has(),
    probe: (signal) => keys.fetch(signal),
    async verify(token) {
      try {
        return await check(token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw refusal(error);
        if (!(await keys.renewForUnknownKey())) throw new CodedError('token_invalid', { cause: error });
        return await check(token).catch((again: unknown) => Promise.reject(refusal(again)));
      }
    },
  };
}

function refusal(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  return new CodedError(error instanceof errors.JWTExpired ? 'token_expired' : 'token_invalid', {
    cause: error,
  });
}

function readClaims(payload: JWTPayload): VerifiedToken {
  const claims = claimsSchema.safeParse(payload);
  if (!claims.success) throw new CodedError('token_invalid');
  const { sub, org_id: orgId, realm_access: access, preferred_username: preferredUsername } = claims.data;
  const roles = (['user', 'admin'] as const).filter((role) => access?.roles.includes(role));
  if (roles.length === 0) throw new CodedError('insufficient_permissions');
  return {
    userId: sub.toLowerCase(),
    orgId: isId(orgId) ? orgId.toLowerCase() : null,
    roles,
    preferredUsername: preferredUsername ?? null,
    expiresAtMs: (payload.exp ?? 0) * 1000,
  };
}

/** Tokens as the API hands them on. */
export interface TokenSet {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly refresh_token: string | null;
}

export interface TokenClientOptions {
  readonly issuerUrl: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
}

/** Asks the issuer for tokens in a caller's name; keeps none of them. */
export interface TokenClient {
  /** @throws CodedError token_invalid, upstream_error or service_unavailable. */
  password(username: string, password: string): Promise<TokenSet>;
  /** @throws CodedError token_invalid, upstream_error or service_unavailable. */
  refresh(refreshToken: string): Promise<TokenSet>;
}

const grantTimeoutMs = 10_000;
const tokenSetSchema = z.object({
  access_token: z.string().min(1),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.int().min(0),
  refresh_token: z.string().optional(),
});
const refusalSchema = z.object({ error: z.string() });

/** The token endpoint of the issuer. */
export function createTokenClient(options: TokenClientOptions): TokenClient {
  const grant = (form: Record<string, string>): Promise<TokenSet> => {
    const secret = options.clientSecret === undefined ? {} : { client_secret: options.clientSecret };
    return requestTokens(options.issuerUrl, { ...form, client_id: options.clientId, ...secret });
  };
  return {
    password: (username, password) => grant({ grant_type: 'password', username, password }),
    refresh: (refreshToken) => grant({ grant_type: 'refresh_token', refresh_token: refreshToken }),
  };
}

async function requestTokens(issuerUrl: string, form: Record<string, string>): Promise<TokenSet> {
  let status: number;
  let body: unknown;
  try {
    const answer = await fetch(`${issuerUrl}/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams(form),
      redirect: 'manual',
      signal: AbortSignal.timeout(grantTimeoutMs),
    });
    status = answer.status;
    body = await answer.json().catch(() => undefined);
  } catch (cause) {
    throw new CodedError('service_unavailable', { cause });
  }
  if (status === 200) {
    const tokens = tokenSetSchema.safeParse(body);
    if (!tokens.success)
      throw new CodedError('upstream_error', { cause: new Error('the issuer gave no token set') });
    const { access_token, expires_in, refresh_token } = tokens.data;
    return { access_token, token_type: 'Bearer', expires_in, refresh_token: refresh_token ?? null };
  }
  const refused = refusalSchema.safeParse(body);
  if (refused.success && refused.data.error === 'invalid_grant') throw new CodedError('token_invalid');
  if (status === 503) throw new CodedError('service_unavailable');
  throw new CodedError('upstream_error', { cause: new Error(`the issuer answered ${status}`) });
}
