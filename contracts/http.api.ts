import { z } from 'zod';
import { errorCodes, type ErrorCode } from './errors.ts';

/** The first and the last instant that both Postgres and a year of four digits can say. */
const firstInstant = '0001-01-01T00:00:00.000Z';
const lastInstant = '9999-12-31T23:59:59.999Z';

/** The instant, or the nearest one that can be stored: an offset leads out of the years 1 to 9999. */
function storableInstant(text: string): string {
  const at = Date.parse(text);
  if (at < Date.parse(firstInstant)) return firstInstant;
  return at > Date.parse(lastInstant) ? lastInstant : text;
}

/** RFC 3339 instant in UTC; one beyond the years 1 to 9999 is read as the first or the last of them. */
export const instantSchema = z.iso
  .datetime({ offset: true })
  .overwrite(storableInstant)
  .meta({ description: 'RFC 3339 instant in UTC.' });

/** An integer amount in minor units with its ISO 4217 currency. */
export const moneySchema = z
  .strictObject({
    amount_minor: z.int().meta({ description: 'Amount in minor units (cents).' }),
    currency: z.string().regex(/^[A-Z]{3}$/),
  })
  .meta({ id: 'Money' });

/** The one error envelope. `details` is always present for `validation_error`. */
export const errorEnvelopeSchema = z
  .strictObject({
    code: z.enum(errorCodes as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    correlation_id: z.string(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: 'Error', description: 'Every error answer. `code` is a catalogue code.' });

export type ErrorEnvelope = z.infer<typeof errorEnvelopeSchema>;

/** `limit` and `cursor` of a list. Query values arrive as text; of a number only digits are taken. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(200).default(50).meta({ description: 'Most items of one page.' }),
  cursor: z
    .string()
    .min(1)
    .max(512)
    .regex(/^[A-Za-z0-9_-]+$/)
    .optional()
    .meta({ description: '`next_cursor` of the page before.' }),
};

/** `{items, next_cursor}`. */
export const pageOf = <S extends z.ZodType>(id: string, item: S) =>
  z.strictObject({ items: z.array(item), next_cursor: z.string().nullable() }).meta({ id });

const control = '\\u0000-\\u001f\\u007f-\\u009f';
const blank = ' \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff';
/** Not `\\p{Cc}` and `\\s`: every reader of the document understands ranges alike. Linear: no part can take another's. */
const lineOfTextPattern = new RegExp(`^[${blank}]*[^${control}${blank}][^${control}]*$`, 'u');

/** Text for people: one line, not blank, trimmed; its length counts characters, not UTF-16 units. */
export const lineOfText = (maxChars: number) =>
  z
    .string()
    .regex(lineOfTextPattern)
    .refine((text) => Array.from(text).length <= maxChars, {
      error: `Too long: at most ${maxChars} characters`,
    })
    .meta({ minLength: 1, maxLength: maxChars })
    .trim();

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** A budget of `policy_values`; `none` for probes, documents and node-agents. */
export type RateClass = 'api' | 'financial' | 'terminal_token' | 'admin_overview' | 'none';

/**
 * One endpoint of the contract. The OpenAPI document, the route, its validation, its limits and the client
 * types all come from here.
 */
export interface Endpoint<
  P extends z.ZodObject | undefined = z.ZodObject | undefined,
  Q extends z.ZodObject | undefined = z.ZodObject | undefined,
  B extends z.ZodType | undefined = z.ZodType | undefined,
> {
  /** camelCase, unique; `operationId` of the document. */
  readonly id: string;
  readonly method: Method;
  /** With `{name}` placeholders, from the root: `/api/v1/...`. */
  readonly path: string;
  readonly listener: 'public' | 'internal';
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Who may call: anybody, a signed-in user, an admin, or the node named in the path. */
  readonly auth: 'none' | 'user' | 'admin' | 'node';
  readonly rate: RateClass;
  /** True for mutations that need `X-Idempotency-Key`. */
  readonly idempotent: boolean;
  /** `audit_logs.action` of a privileged mutation. */
  readonly audit?: string;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Success answers by status; `null` is an empty body. */
  readonly responses: Readonly<
    Record<number, { readonly description: string; readonly schema: z.ZodType | null }>
  >;
  /** Catalogue codes of its own, besides those every endpoint of its kind has. */
  readonly errors: readonly ErrorCode[];
}

/** Declares an endpoint, keeping the exact schema types for the handler. */
export const endpoint = <
  P extends z.ZodObject | undefined,
  Q extends z.ZodObject | undefined,
  B extends z.ZodType | undefined,
>(
  declared: Endpoint<P, Q, B>,
): Endpoint<P, Q, B> => declared;

/** Path parameters of one uuid. */
export const uuidParam = <N extends string>(name: N) =>
  z.object({ [name]: z.uuid() } as { [K in N]: z.ZodUUID });
