import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { NextFunction, Request, Response } from 'express';
import { parseTraceparent } from '../../contracts/trace.ts';

/** Asked all the time and of no interest, unless the caller traces them. */
const quiet = /^\/(healthz|readyz|livez|metrics)$|\/tasks\/wait$/;

/**
 * The first middleware of every router: a span around each request, below the caller's when it sent a valid
 * `traceparent`. Nothing of the request but its method is recorded here; `describeRequest` adds what it turned out to be.
 */
export const traceRequests =
  (listener: 'public' | 'internal') =>
  (request: Request, response: Response, next: NextFunction): void => {
    const remote = parseTraceparent(request.headers['traceparent']);
    if (remote === undefined && quiet.test(request.path)) {
      next();
      return;
    }
    const parent =
      remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true });
    const attributes = { 'http.request.method': request.method, 'gpuaas.listener': listener };
    const span = trace
      .getTracer('gpuaas-api')
      .startSpan(request.method, { kind: SpanKind.SERVER, attributes }, parent);
    if (span.isRecording()) response.once('close', () => span.end());
    context.with(trace.setSpan(parent, span), next);
  };

/** What a request turned out to be. */
export interface RequestDescription {
  readonly method: string;
  /** The path as the contract writes it, without the ids of this request. */
  readonly route: string | undefined;
  readonly operation: string;
  readonly status: number;
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
  if (of.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
}
