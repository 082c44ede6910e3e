import type { z } from 'zod';
import type { Endpoint } from '../contracts/http.api.ts';
import type { NodeId, OrgId, UserId } from '../contracts/ids.ts';

/** Who calls, as the token says. */
export interface Caller {
  readonly userId: UserId;
  readonly orgId: OrgId;
  readonly roles: readonly ('user' | 'admin')[];
  readonly isAdmin: boolean;
}

type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined;

/** A request whose parts fit the contract of its endpoint. */
export interface RequestContext<E extends Endpoint> {
  readonly params: Parsed<E['params']>;
  readonly query: Parsed<E['query']>;
  readonly body: Parsed<E['body']>;
  /** Of `user` and `admin` endpoints; reading it elsewhere is a defect and throws. */
  readonly caller: Caller;
  /** Of `node` endpoints; reading it elsewhere is a defect and throws. */
  readonly nodeId: NodeId;
  /** Empty when the endpoint is not idempotent. */
  readonly idempotencyKey: string;
  readonly correlationId: string;
  /** Aborted when the client goes away; on the internal listener also when the process drains. */
  readonly signal: AbortSignal;
}

/** An answer by status. `body` undefined or null sends none. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An endpoint and what serves it, types erased. */
export interface Route {
  readonly endpoint: Endpoint;
  handle(request: RequestContext<Endpoint>): Promise<Answer>;
}

/** Ties a handler to its endpoint; the handler sees the endpoint's own types. */
export function route<E extends Endpoint>(
  endpoint: E,
  handler: (request: RequestContext<E>) => Promise<Answer>,
): Route {
  return { endpoint, handle: (request) => handler(request as RequestContext<E>) };
}
