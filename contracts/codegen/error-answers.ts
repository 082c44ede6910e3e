import { errorCatalogue, type ErrorCode, type ErrorEntry } from '../errors.ts';
import type { Endpoint } from '../http.api.ts';

export type ErrorStatus = ErrorEntry['status'];

/** One error answer of an endpoint: its status and every code that it may carry, in catalogue order. */
export interface ErrorAnswer {
  readonly status: ErrorStatus;
  readonly codes: readonly ErrorCode[];
}

const everyEndpoint: readonly (readonly [ErrorStatus, ErrorCode])[] = [
  [400, 'validation_error'],
  [400, 'invalid_request'],
  [405, 'invalid_request'],
  [500, 'internal_error'],
  [503, 'service_unavailable'],
];

/** A body is looked at before it is told that none belongs here. */
const everyMutation: readonly (readonly [ErrorStatus, ErrorCode])[] = [
  [413, 'invalid_request'],
  [415, 'invalid_request'],
];

const byCaller: Readonly<Record<Endpoint['auth'], readonly ErrorCode[]>> = {
  none: [],
  user: [
    'token_missing',
    'token_invalid',
    'token_expired',
    'token_scope_invalid',
    'insufficient_permissions',
  ],
  admin: [
    'token_missing',
    'token_invalid',
    'token_expired',
    'token_scope_invalid',
    'insufficient_permissions',
    'admin_required',
  ],
  node: ['token_missing', 'token_invalid', 'insufficient_permissions'],
};

/** By the budget of its caller or of its address: whoever has no good token, or needs none for a mutation. */
const isLimited = ({ rate, auth, method }: Endpoint): boolean =>
  rate !== 'none' || auth !== 'none' || method !== 'get';

/**
 * Every error answer that an endpoint may give, by ascending status: those of its kind (caller, body, rate class)
 * and those that it declares. `invalid_request` appears under its transport statuses (D-0002).
 */
export function errorAnswers(of: Endpoint): readonly ErrorAnswer[] {
  const pairs: (readonly [ErrorStatus, ErrorCode])[] = [...everyEndpoint];
  if (of.method !== 'get') pairs.push(...everyMutation);
  const own: ErrorCode[] = [...byCaller[of.auth], ...of.errors];
  if (isLimited(of)) own.push('rate_limit_exceeded');
  for (const code of own) pairs.push([errorCatalogue[code].status, code]);

  const catalogueOrder = Object.keys(errorCatalogue);
  const statuses = [...new Set(pairs.map(([status]) => status))].sort((a, b) => a - b);
  return statuses.map((status) => {
    const codes = new Set(pairs.filter(([candidate]) => candidate === status).map(([, code]) => code));
    return {
      status,
      codes: [...codes].sort((a, b) => catalogueOrder.indexOf(a) - catalogueOrder.indexOf(b)),
    };
  });
}
