/** Traces through Temporal: what clients and workers put around their calls. */
import { OpenTelemetryWorkflowClientInterceptor } from '@temporalio/interceptors-opentelemetry/lib/client/index.js';
import { OpenTelemetryActivityInboundInterceptor } from '@temporalio/interceptors-opentelemetry/lib/worker/index.js';
import type { WorkflowClientInterceptor } from '@temporalio/client';
import type { ActivityInterceptorsFactory, InjectedSinks } from '@temporalio/worker';
import type { WorkflowSpan } from '../../contracts/trace.ts';
import { isTracing, type Tracing } from './tracing.ts';

/** Spans around a client's calls; the trace goes along in their headers. None in a process that traces nothing. */
export const clientInterceptors = (): WorkflowClientInterceptor[] =>
  isTracing() ? [new OpenTelemetryWorkflowClientInterceptor()] : [];

/** Spans around the activities of a worker, below the span of the run. */
export const activityInterceptors = (tracing: Tracing): ActivityInterceptorsFactory[] =>
  tracing.enabled ? [(context) => ({ inbound: new OpenTelemetryActivityInboundInterceptor(context) })] : [];

/** Where spans leave a workflow's sandbox. Always there: a traced start may reach a worker that traces nothing. */
export const workflowSinks = (
  tracing: Tracing,
): InjectedSinks<{ trace: { span(of: WorkflowSpan): void } }> => ({
  trace: { span: { fn: (_info, span) => tracing.workflowSpans?.([span]), callDuringReplay: false } },
});
