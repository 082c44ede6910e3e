import { isGrpcServiceError } from '@temporalio/client';
import { CodedError, type ErrorCode } from '../../contracts/errors.ts';
import type { ErrorEnvelope } from '../../contracts/http.api.ts';
import { isDatabaseUnavailable, sqlState } from '../../db/client.ts';

/** An error as the client gets it. */
export interface ErrorAnswer {
  readonly status: number;
  readonly envelope: ErrorEnvelope;
  readonly headers: Readonly<Record<string, string>>;
}

const retryAfterSeconds = '1';
/**
 * Statements that ran into their time limit or a lock's, and those that lost against others, alone or as often as a
 * transaction is repeated: load, not a defect.
 */
const overloaded = new Set(['57014', '55P03', '40001', '40P01']);
/** gRPC DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE. */
const engineAway = new Set([4, 8, 14]);

/**
 * Classifies any error by the catalogue: what could not be reached is `service_unavailable`, a defect of ours is
 * `internal_error`; neither tells its cause.
 */
export function classify(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  if (isDatabaseUnavailable(error) || overloaded.has(sqlState(error) ?? '')) {
    return new CodedError('service_unavailable', { cause: error });
  }
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (isGrpcServiceError(at) && engineAway.has(at.code))
      return new CodedError('service_unavailable', { cause: error });
  }
  return new CodedError('internal_error', { cause: error });
}

/** The envelope and headers of a classified error. */
export function errorAnswer(error: CodedError, correlationId: string): ErrorAnswer {
  const details = error.details ?? (error.code === 'validation_error' ? { issues: [] } : undefined);
  return {
    status: error.status,
    envelope: {
      code: error.code,
      message: error.message,
      correlation_id: correlationId,
      ...(details === undefined ? {} : { details }),
    },
    headers: headersOf(error.code, error.status),
  };
}

function headersOf(code: ErrorCode, status: number): Record<string, string> {
  if (status === 401) {
    return { 'WWW-Authenticate': code === 'token_missing' ? 'Bearer' : 'Bearer error="invalid_token"' };
  }
  return status === 503 ? { 'Retry-After': retryAfterSeconds } : {};
}

/** One field that does not fit; `path` starts with `params`, `query`, `body` or `headers`. Values are never told. */
export interface Issue {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

/** `validation_error` with its issues. */
export const validationError = (...issues: readonly Issue[]): CodedError =>
  new CodedError('validation_error', { details: { issues } });
