import type { Client } from '@temporalio/client';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { ApiConfig } from '../contracts/environment.api.ts';
import type { Database } from '../db/client.ts';
import type { PolicyReader } from '../db/ops/policy.store.ts';

/** What the middleware needs to know of a token. */
export interface TokenClaims {
  readonly userId: string;
  readonly orgId: string | null;
  readonly roles: readonly ('user' | 'admin')[];
  readonly preferredUsername: string | null;
  /** When it expires, in ms since 1970. */
  readonly expiresAtMs: number;
}

/** Port: checks access tokens with the issuer's keys. */
export interface Tokens {
  verify(token: string): Promise<TokenClaims>;
  hasKeys(): boolean;
  probe(signal: AbortSignal): Promise<void>;
}

/** Tokens as the contract answers them. */
export interface TokenSet {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly refresh_token: string | null;
}

/** Port: asks the issuer for tokens. */
export interface Sessions {
  password(username: string, password: string): Promise<TokenSet>;
  refresh(refreshToken: string): Promise<TokenSet>;
}

/** Port: what the API counts. */
export interface Metrics {
  observeRequest(operation: string, status: number, seconds: number): void;
  dependencyUp(dependency: string, isUp: boolean): void;
  limiterFellBack(): void;
  requestLimited(rateClass: string): void;
  notificationSocketOpened(): void;
  notificationSocketClosed(code: number): void;
  notificationsDelivered(count: number): void;
  notificationGapRead(): void;
  slowNotificationSocket(): void;
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Everything that routes and middleware are built from; made by the composition root. */
export interface ApiDeps {
  readonly db: Database;
  /** Connects by its first call. */
  readonly temporal: Client;
  /** For commands; fails at once when Redis is away. */
  readonly redis: Redis;
  /** For subscriptions only. */
  readonly redisSubscriber: Redis;
  readonly policies: PolicyReader;
  readonly config: ApiConfig;
  /** Key from which the secrets of node-agents are derived. */
  readonly nodeSecretKey: Buffer;
  readonly tokens: Tokens;
  readonly sessions: Sessions;
  readonly log: Logger;
  readonly metrics: Metrics;
}
