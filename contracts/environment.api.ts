import { z } from 'zod';

/** What kind of installation this is; `production` unless told otherwise. */
export const environmentName = z.enum(['development', 'test', 'production']).default('production');

const port = (fallback: number) => z.coerce.number().int().min(1).max(65_535).default(fallback);
const file = z.string().min(1);

/** Environment of the `api` process. Every name is read here and nowhere else. */
export const apiEnvironmentSchema = z
  .object({
    GPUAAS_ENV: environmentName,
    /** Whether this installation may use MAAS: without it the policy `maas.enabled` cannot be set. */
    MAAS_ENABLED: z.enum(['true', 'false']).default('false'),
    LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    DATABASE_URL: z.string().min(1),
    DATABASE_POOL_MAX: z.coerce.number().int().min(1).max(500).default(20),
    REDIS_URL: z.string().min(1),
    TEMPORAL_ADDRESS: z.string().min(1),
    TEMPORAL_NAMESPACE: z.string().min(1).default('gpuaas'),
    TEMPORAL_TLS: z.enum(['true', 'false']).default('false'),
    /** `iss` of the tokens; keys and tokens are fetched below it. */
    KEYCLOAK_ISSUER_URL: z.url(),
    /** Client for the renewal of sessions; a public client has no secret. */
    KEYCLOAK_CLIENT_ID: z.string().min(1).default('gpuaas-api'),
    KEYCLOAK_CLIENT_SECRET_FILE: file.optional(),
    /** For development; elsewhere a file keeps it out of the process table. */
    KEYCLOAK_CLIENT_SECRET: z.string().min(1).optional(),
    API_HOST: z.string().min(1).default('127.0.0.1'),
    API_PORT: port(8090),
    /** Proxies in front whose X-Forwarded-For is believed. */
    API_TRUSTED_PROXY_HOPS: z.coerce.number().int().min(0).max(10).default(0),
    INTERNAL_HOST: z.string().min(1).default('127.0.0.1'),
    INTERNAL_PORT: port(8092),
    INTERNAL_TLS_CERT_FILE: file,
    INTERNAL_TLS_KEY_FILE: file,
    /** At least 32 random bytes; the secrets of node-agents are derived from them. */
    NODE_SECRET_KEY_FILE: file,
    /** Ed25519 private key (PEM, PKCS #8) that signs node tasks. */
    TASK_SIGNING_KEY_FILE: file,
    /** Base address of the Temporal UI, for links in explanations. */
    TEMPORAL_UI_URL: z.url().optional(),
    /**
     * Origins of pages that may open sockets, separated by commas. When not set: the API's own host in production, any
     * elsewhere.
     */
    WEB_ORIGINS: z.string().min(1).optional(),
    /** How often a socket must answer a ping; also what a slow client gets for a page of stored notifications. */
    NOTIFICATION_PING_MS: z.coerce.number().int().min(100).max(600_000).default(30_000),
    /** How often the table is asked for notifications that no message told of. */
    NOTIFICATION_SWEEP_MS: z.coerce.number().int().min(100).max(600_000).default(5000),
    /** Most bytes kept for a client that reads too slowly. */
    NOTIFICATION_BUFFER_BYTES: z.coerce.number().int().min(1024).max(67_108_864).default(262_144),
    /** Most open sockets of this process. */
    NOTIFICATION_SOCKETS_MAX: z.coerce.number().int().min(1).max(1_000_000).default(20_000),
  })
  .readonly();

/** The settings of the `api` process. */
export interface ApiConfig {
  readonly environment: 'development' | 'test' | 'production';
  readonly maasEnabled: boolean;
  readonly logLevel: string;
  readonly database: { readonly url: string; readonly poolMax: number };
  readonly redisUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string; readonly tls: boolean };
  readonly temporalUiUrl: string | undefined;
  readonly issuerUrl: string;
  readonly issuerClientId: string;
  readonly issuerClientSecretFile: string | undefined;
  readonly issuerClientSecret: string | undefined;
  readonly publicListener: {
    readonly host: string;
    readonly port: number;
    readonly trustedProxyHops: number;
  };
  readonly internalListener: {
    readonly host: string;
    readonly port: number;
    readonly certFile: string;
    readonly keyFile: string;
  };
  readonly notifications: {
    /** Undefined for the API's own host. */
    readonly origins: readonly string[] | 'any' | undefined;
    readonly pingMs: number;
    readonly sweepMs: number;
    readonly bufferBytes: number;
    readonly socketsMax: number;
  };
  readonly nodeSecretKeyFile: string;
  readonly nodeTaskSigningKeyFile: string;
}

/**
 * Reads the settings of the `api` process.
 * @throws Error that names every wrong variable and none of the values.
 */
export function readApiConfig(variables: Readonly<Record<string, string | undefined>>): ApiConfig {
  const env = parseEnvironment(apiEnvironmentSchema, variables);
  return {
    environment: env.GPUAAS_ENV,
    maasEnabled: env.MAAS_ENABLED === 'true',
    logLevel: env.LOG_LEVEL,
    database: { url: env.DATABASE_URL, poolMax: env.DATABASE_POOL_MAX },
    redisUrl: env.REDIS_URL,
    temporal: {
      address: env.TEMPORAL_ADDRESS,
      namespace: env.TEMPORAL_NAMESPACE,
      tls: env.TEMPORAL_TLS === 'true',
    },
    temporalUiUrl: env.TEMPORAL_UI_URL?.replace(/\/+$/, ''),
    issuerUrl: env.KEYCLOAK_ISSUER_URL.replace(/\/+$/, ''),
    issuerClientId: env.KEYCLOAK_CLIENT_ID,
    issuerClientSecretFile: env.KEYCLOAK_CLIENT_SECRET_FILE,
    issuerClientSecret: env.KEYCLOAK_CLIENT_SECRET,
    publicListener: { host: env.API_HOST, port: env.API_PORT, trustedProxyHops: env.API_TRUSTED_PROXY_HOPS },
    internalListener: {
      host: env.INTERNAL_HOST,
      port: env.INTERNAL_PORT,
      certFile: env.INTERNAL_TLS_CERT_FILE,
      keyFile: env.INTERNAL_TLS_KEY_FILE,
    },
    notifications: {
      origins: originsOf(env.WEB_ORIGINS, env.GPUAAS_ENV),
      pingMs: env.NOTIFICATION_PING_MS,
      sweepMs: env.NOTIFICATION_SWEEP_MS,
      bufferBytes: env.NOTIFICATION_BUFFER_BYTES,
      socketsMax: env.NOTIFICATION_SOCKETS_MAX,
    },
    nodeSecretKeyFile: env.NODE_SECRET_KEY_FILE,
    nodeTaskSigningKeyFile: env.TASK_SIGNING_KEY_FILE,
  };
}

function originsOf(list: string | undefined, environment: string): readonly string[] | 'any' | undefined {
  if (list === undefined) return environment === 'production' ? undefined : 'any';
  return list
    .split(',')
    .map((origin) => origin.trim().toLowerCase())
    .filter((origin) => origin !== '');
}

/**
 * Reads variables by a schema; empty ones count as not set.
 * @throws Error that names every wrong variable and none of the values.
 */
export function parseEnvironment<S extends z.ZodType>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
): z.output<S> {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`environment: ${wrong.join('; ')}`);
}
