import { z } from 'zod';
import type { Endpoint } from '../../contracts/http.api.ts';
import { isStorable } from './body.ts';
import { validationError, type Issue } from './errors.ts';

/** The parts of a request before the contract was applied. */
export interface RawRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly idempotencyKey: string | undefined;
}

/** The parts that fit. */
export interface ValidRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly idempotencyKey: string;
}

const visibleAscii = /^[\x21-\x7e]{1,255}$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const digits = /^[0-9]+$/;
/** A name that is safe to tell back: short, plain, unlike a token. */
const plainName = /^[A-Za-z_][A-Za-z0-9_-]{0,39}$/;

/**
 * Applies the schemas of an endpoint to a request, then asks for the idempotency key.
 * @throws CodedError validation_error that names every field and no value.
 */
export function validate(endpoint: Endpoint, raw: RawRequest): ValidRequest {
  const issues: Issue[] = [];
  const params = check(endpoint.params, raw.params, 'params', issues);
  const query = checkQuery(endpoint, raw.query, issues);
  const body = check(endpoint.body, raw.body, 'body', issues);
  if (issues.length > 0) throw validationError(...issues);
  const key = raw.idempotencyKey;
  if (!endpoint.idempotent) return { params, query, body, idempotencyKey: '' };
  if (key !== undefined && visibleAscii.test(key)) return { params, query, body, idempotencyKey: key };
  throw validationError({
    path: 'headers.X-Idempotency-Key',
    code: key === undefined ? 'missing' : 'invalid_format',
    message: 'Needs 1 to 255 visible ASCII characters.',
  });
}

/** The one spelling of an id, where a text may hold one. */
export const lowerUuid = (text: string): string => (uuid.test(text) ? text.toLowerCase() : text);

/** Ids have one spelling: they become keys of locks and workflows, and are told in answers and events. */
function lowerUuids(schema: unknown, value: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return lowerUuids(schema.unwrap(), value);
  if (schema instanceof z.ZodUUID) return typeof value === 'string' ? value.toLowerCase() : value;
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((item) => lowerUuids(schema.element, item));
  if (!(schema instanceof z.ZodObject) || typeof value !== 'object' || value === null) return value;
  const shape = schema.shape as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, lowerUuids(shape[name], item)]),
  );
}

/** Whether the contract has a number here, which a query can only say as text. */
function isNumber(schema: unknown): boolean {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return isNumber(schema.unwrap());
  return schema instanceof z.ZodNumber;
}

const unknownParameter = (name: string): Issue => ({
  path: `query.${nameOf(name)}`,
  code: 'unrecognized_keys',
  message: 'Unknown parameter.',
});

/** @throws CodedError validation_error for any parameter: the path takes none. */
export function refuseParameters(query: URLSearchParams): void {
  const names = [...new Set(query.keys())];
  if (names.length > 0) throw validationError(...names.map(unknownParameter));
}

function checkQuery(endpoint: Endpoint, query: URLSearchParams, issues: Issue[]): unknown {
  const given: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of query) {
    const known = endpoint.query !== undefined && Object.hasOwn(endpoint.query.shape, name);
    const path = `query.${nameOf(name)}`;
    if (!known) issues.push(unknownParameter(name));
    else if (name in given) issues.push({ path, code: 'repeated', message: 'Given more than once.' });
    else if (!isStorable(value))
      issues.push({ path, code: 'invalid_text', message: 'Holds a character that cannot be stored.' });
    else if (isNumber(endpoint.query?.shape[name]) && !digits.test(value))
      issues.push({ path, code: 'invalid_type', message: 'Needs a whole number in digits.' });
    else given[name] = value;
  }
  return issues.length > 0 ? undefined : check(endpoint.query, { ...given }, 'query', issues);
}

function check(schema: z.ZodType | undefined, value: unknown, part: string, issues: Issue[]): unknown {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return lowerUuids(schema, parsed.data);
  for (const issue of parsed.error.issues) issues.push(...describe(issue, part));
  return undefined;
}

function describe(issue: z.core.$ZodIssue, part: string): Issue[] {
  const path = [part, ...issue.path.map((step) => nameOf(String(step)))].join('.');
  if (issue.code !== 'unrecognized_keys') return [{ path, code: issue.code, message: issue.message }];
  return issue.keys
    .slice(0, 10)
    .map((key) => ({ path: `${path}.${nameOf(key)}`, code: issue.code, message: 'Unknown field.' }));
}

const nameOf = (name: string): string => (plainName.test(name) || /^\d{1,6}$/.test(name) ? name : '?');
