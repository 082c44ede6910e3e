import type { IncomingMessage } from 'node:http';
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Context, Span } from '@opentelemetry/api';
import type { NextFunction, Request, Response } from 'express';
import type { ErrorCode } from '../../contracts/errors.ts';
import { parseTraceparent, type TracePoint } from '../../contracts/trace.ts';

type Listener = 'public' | 'internal';

/** Asked all the time and of no interest, unless the caller traces them. */
const quiet = /^\/(healthz|readyz|livez|metrics)$|\/tasks\/wait$/;

/**
 * The first middleware of every router: a span around each request, below the caller's when it sent a valid
 * `traceparent`. Nothing of the request but its method is recorded here; `describeRequest` adds what it turned out to be.
 */
export const traceRequests =
  (listener: Listener) =>
  (request: Request, response: Response, next: NextFunction): void => {
    const remote = parseTraceparent(request.headers['traceparent']);
    if (remote === undefined && quiet.test(request.path)) {
      next();
      return;
    }
    const { span, within } = startSpan(request, listener, remote);
    if (span.isRecording()) response.once('close', () => span.end());
    context.with(within, next);
  };

/**
 * The same around the handshake of a socket, which has no response: the span ends with the handshake, however long the
 * socket stays open.
 * @throws whatever the handshake throws.
 */
export async function traceHandshake(
  request: IncomingMessage,
  listener: Listener,
  run: () => Promise<void>,
): Promise<void> {
  const { span, within } = startSpan(request, listener, parseTraceparent(request.headers['traceparent']));
  try {
    await context.with(within, run);
  } finally {
    span.end();
  }
}

function startSpan(
  { method = 'GET' }: IncomingMessage,
  listener: Listener,
  remote: TracePoint | undefined,
): { readonly span: Span; readonly within: Context } {
  const parent =
    remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true });
  const attributes = { 'http.request.method': method, 'gpuaas.listener': listener };
  const span = trace.getTracer('gpuaas-api').startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
  return { span, within: trace.setSpan(parent, span) };
}

/** What a request turned out to be. */
export interface RequestDescription {
  readonly method: string;
  /** The path as the contract writes it, without the ids of this request. */
  readonly route: string | undefined;
  readonly operation: string;
  readonly status: number;
  /** Of a refused handshake. */
  readonly code?: ErrorCode;
  readonly correlationId: string;
}

/** Tells the span of the request how it went. A refusal is an answer like any other; only a 5xx is an error. */
export function describeRequest(of: RequestDescription): void {
  const span = trace.getSpan(context.active());
  if (span === undefined || !span.isRecording()) return;
  if (of.route !== undefined) {
    span.updateName(`${of.method} ${of.route}`);
    span.setAttribute('http.route', of.route);
  }
  span.setAttributes({
    'gpuaas.operation': of.operation,
    'gpuaas.correlation_id': of.correlationId,
    'http.response.status_code': of.status,
  });
  if (of.code !== undefined) span.setAttribute('gpuaas.error_code', of.code);
  if (of.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
}
