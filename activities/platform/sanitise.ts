/** What replaces a secret; the field itself stays. */
export const redacted = '[REDACTED]';

const secretKeys = new Set([
  'password',
  'password_hash',
  'passwd',
  'passphrase',
  'access_token',
  'refresh_token',
  'id_token',
  'token',
  'bearer',
  'jwt',
  'authorization',
  'proxy_authorization',
  'agent_secret',
  'secret',
  'client_secret',
  'api_key',
  'private_key',
  'cookie',
  'set_cookie',
  'stripe_customer_id',
  'payment_reference',
  'sec_websocket_protocol',
]);
const secretPrefixes = ['ssh_private_key'];
const secretSuffixes = ['_token', '_secret', '_password', '_private_key'];

/** `accessToken`, `Access-Token` and `ACCESS_TOKEN` are one name. */
const normalised = (key: string): string =>
  key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .toLowerCase();

/** True for a field whose value never reaches a log, a span or an answer. */
export function isSecretKey(key: string): boolean {
  const name = normalised(key);
  return (
    secretKeys.has(name) ||
    secretPrefixes.some((prefix) => name.startsWith(prefix)) ||
    secretSuffixes.some((suffix) => name.endsWith(suffix))
  );
}

const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, redacted],
  [/\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}/g, redacted],
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, `$1 ${redacted}`],
  [/([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi, `$1:${redacted}@`],
  [
    /\b((?:access_|refresh_|id_)?token|password|client_secret|agent_secret)(["']?\s*[=:]\s*["']?)[^\s"'&,;}]+/gi,
    `$1$2${redacted}`,
  ],
];

/** Redacts bearer credentials, JSON web tokens, private keys and passwords inside a text. */
export function sanitiseText(text: string): string {
  let clean = text;
  for (const [pattern, replacement] of patterns) clean = clean.replace(pattern, replacement);
  return clean;
}

const maxDepth = 12;

/**
 * Copies a value with every secret field and every secret-looking part of a text replaced by `[REDACTED]`. Cycles and
 * what lies deeper than 12 levels are named, not followed.
 */
export function sanitise(value: unknown): unknown {
  return copy(value, 0, new Set());
}

function copy(value: unknown, depth: number, above: Set<object>): unknown {
  if (typeof value === 'string') return sanitiseText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value;
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;
  if (above.has(value)) return '[cycle]';
  if (depth >= maxDepth) return '[deep]';
  above.add(value);
  const result = copyObject(value, depth, above);
  above.delete(value);
  return result;
}

function copyObject(value: object, depth: number, above: Set<object>): unknown {
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, above));
  if (value instanceof Map) return copyObject(Object.fromEntries(value), depth, above);
  if (value instanceof Set) return copyObject([...value], depth, above);
  if (value instanceof Error) return describeError(value);
  const entries = Object.entries(value).map(([key, item]: [string, unknown]) => [
    sanitiseText(key),
    isSecretKey(key) && item !== null && item !== undefined ? redacted : copy(item, depth + 1, above),
  ]);
  return Object.fromEntries(entries) as unknown;
}

/** An error as a log shows it. */
export interface ErrorDescription {
  readonly name: string;
  readonly message: string;
  readonly code?: string | number;
  readonly constraint?: string;
  /** Frames only: the first lines of a stack repeat the message. */
  readonly stack: readonly string[];
  readonly cause?: ErrorDescription;
}

const maxCauses = 4;

/**
 * Describes an error without its data: the message of a failed query carries its parameters, so only the driver's own
 * error is told.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error))
    return { name: typeof error, message: sanitiseText(String(error)), stack: [] };
  if (error.message.startsWith('Failed query:')) {
    if (error.cause instanceof Error) return describeError(error.cause, depth);
    return { name: error.name, message: 'a query failed', stack: frames(error) };
  }
  const code =
    'code' in error && (typeof error.code === 'string' || typeof error.code === 'number')
      ? error.code
      : undefined;
  const constraint =
    'constraint' in error && typeof error.constraint === 'string' ? error.constraint : undefined;
  return {
    name: error.name,
    message: sanitiseText(error.message),
    ...(code === undefined ? {} : { code }),
    ...(constraint === undefined ? {} : { constraint }),
    stack: frames(error),
    ...(error.cause === undefined || depth >= maxCauses
      ? {}
      : { cause: describeError(error.cause, depth + 1) }),
  };
}

const frames = (error: Error): string[] =>
  (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 8)
    .map((line) => line.trim());
