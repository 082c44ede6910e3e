import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { CodedError } from '../../contracts/errors.ts';
import { asId, isUuid, type NodeId } from '../../contracts/ids.ts';
import type { Database } from '../../db/client.ts';
import { ensurePersonal, type PersonalIdentity } from '../../db/identity/personal.store.ts';
import { findNodeBySecretHash, readAgentSecretHash } from '../../db/nodes/node.views.ts';
import type { Tokens } from '../deps.ts';
import type { Caller } from '../route.ts';
import { RecentMap } from '../../contracts/recent-map.ts';
import { validationError } from './errors.ts';

const bearer = /^Bearer +([\x21-\x7e]+)$/i;

/** The credential of a request. @throws CodedError token_missing or token_invalid. */
export function bearerOf(request: IncomingMessage): string {
  const header = request.headers.authorization;
  if (header === undefined || header === '') throw new CodedError('token_missing');
  const token = bearer.exec(header)?.[1];
  if (token === undefined) throw new CodedError('token_invalid');
  return token;
}

/** Turns the token of a request into a caller, making the user's personal records at first sight. */
export type AuthenticateUser = (request: IncomingMessage) => Promise<Caller>;

const maxKnownUsers = 10_000;

/** Turns a token into a caller, making the user's personal records at first sight. */
export type AuthenticateToken = (
  token: string,
) => Promise<{ readonly caller: Caller; readonly expiresAtMs: number }>;

/** User authentication of one process; known users cost no query. */
export function createUserAuthentication(deps: {
  readonly db: Database;
  readonly tokens: Tokens;
}): AuthenticateUser {
  const authenticate = createTokenAuthentication(deps);
  return async (request) => (await authenticate(bearerOf(request))).caller;
}

/** The same for whoever brings a token by another way than its header. */
export function createTokenAuthentication(deps: {
  readonly db: Database;
  readonly tokens: Tokens;
}): AuthenticateToken {
  const known = new RecentMap<PersonalIdentity>({ size: maxKnownUsers });
  return async (token) => {
    const claims = await deps.tokens.verify(token);
    let identity = known.get(claims.userId);
    if (identity === undefined) {
      identity = await ensurePersonal(deps.db, claims);
      known.set(claims.userId, identity);
    }
    const named = claims.orgId ?? (identity.personalOrg ? identity.orgId : null);
    if (named !== identity.orgId) throw new CodedError('token_scope_invalid');
    const caller: Caller = {
      userId: asId(claims.userId),
      orgId: asId(identity.orgId),
      roles: claims.roles,
      isAdmin: claims.roles.includes('admin'),
    };
    return { caller, expiresAtMs: claims.expiresAtMs };
  };
}

/** Counts a request against the budget of its address. @throws CodedError rate_limit_exceeded. */
export type LimitAddress = () => Promise<void>;

/**
 * Turns the secret of a request into the node that its path names; what is no good secret is counted against its
 * address.
 */
export type AuthenticateNode = (
  request: IncomingMessage,
  nodeId: string,
  limitAddress: LimitAddress,
) => Promise<NodeId>;

const hashMaxAgeMs = 5000;
const maxKnownNodes = 20_000;
/** As long as a budget lasts. */
const limitedMaxAgeMs = 60_000;
const maxLimitedAddresses = 10_000;

/**
 * Node authentication of one process; a hash is remembered for 5 s. From an address that has used up its budget only a
 * secret that was good before is worth a read: others behind the same address go on.
 */
export function createNodeAuthentication(db: Database): AuthenticateNode {
  const known = new RecentMap<Buffer>({ size: maxKnownNodes, maxAgeMs: hashMaxAgeMs });
  const wasGood = new RecentMap<Buffer>({ size: maxKnownNodes });
  const limited = new RecentMap<true>({ size: maxLimitedAddresses, maxAgeMs: limitedMaxAgeMs });
  const check = async (nodeId: string, given: Buffer, beforeRead: LimitAddress): Promise<NodeId> => {
    if (isSame(given, known.get(nodeId))) return asId<NodeId>(nodeId);
    if (!isSame(given, wasGood.get(nodeId))) await beforeRead();
    const stored = await readAgentSecretHash(db.q, nodeId);
    if (isSame(given, stored)) {
      known.set(nodeId, given);
      wasGood.set(nodeId, given);
      return asId<NodeId>(nodeId);
    }
    const other = await findNodeBySecretHash(db.q, given);
    throw new CodedError(other === undefined ? 'token_invalid' : 'insufficient_permissions');
  };
  return async (request, nodeId, limitAddress) => {
    const address = request.socket.remoteAddress ?? 'unknown';
    const count: LimitAddress = () =>
      limitAddress().catch((error: unknown) => {
        if (error instanceof CodedError && error.status === 429) limited.set(address, true);
        throw error;
      });
    try {
      const given = createHash('sha256').update(bearerOf(request)).digest();
      if (!isUuid(nodeId)) {
        throw validationError({ path: 'params.node_id', code: 'invalid_format', message: 'Invalid UUID' });
      }
      return await check(nodeId, given, () => (limited.get(address) ? count() : Promise.resolve()));
    } catch (error) {
      if (error instanceof CodedError && error.status === 401) await count();
      throw error;
    }
  };
}

const isSame = (given: Buffer, stored: Buffer | undefined): boolean =>
  stored !== undefined && timingSafeEqual(given, stored);
