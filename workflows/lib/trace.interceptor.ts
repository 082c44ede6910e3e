/**
 * Carries a trace through a run. What starts a run, signals it or sends it an update is the cause of what the run does
 * next: its activities, children and signals hang below one short span that the run makes for that cause, in the trace of
 * whoever asked. So the work of a release belongs to the release's request, however long ago the run began.
 *
 * The package's own workflow interceptor does otherwise: one span lasts as long as the run, months perhaps, and is
 * exported at its end only; every later command's work would hang below the first request; and it brings the whole SDK
 * into each sandbox. Here the ids of spans are derived from the run, not drawn, so the run's random numbers stay as they
 * are; nothing yields; and the trace is in headers, which replay does not compare. A history replays alike with this
 * module and without it. A run whose headers hold no trace is left alone.
 *
 * A span that was made in a workflow task whose worker died before its end is lost; its children keep their parent's id.
 */
import {
  proxySinks,
  workflowInfo,
  type ActivityInput,
  type ContinueAsNewInput,
  type LocalActivityInput,
  type SignalInput,
  type SignalWorkflowInput,
  type StartChildWorkflowExecutionInput,
  type UpdateInput,
  type WorkflowExecuteInput,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptorsFactory,
  type WorkflowOutboundCallsInterceptor,
} from '@temporalio/workflow';
import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import {
  formatTraceparent,
  isSampled,
  parseTraceparent,
  traceHeader,
  type TracePoint,
  type WorkflowSpan,
} from '../../contracts/trace.ts';

interface TraceSinks {
  [name: string]: Record<string, (span: WorkflowSpan) => void>;
  trace: { span(span: WorkflowSpan): void };
}

/** The trace of one run: what caused its present work. */
class RunTrace {
  #cause: TracePoint | undefined;
  #spans = 0;
  readonly #sinks = proxySinks<TraceSinks>();

  /** A call came in: what follows is done on its behalf. */
  enter(name: string, headers: Headers): void {
    const parent = readHeader(headers);
    if (parent === undefined) return;
    const { workflowId, runId, unsafe } = workflowInfo();
    this.#spans += 1;
    const { traceId, traceFlags } = parent;
    this.#cause = { traceId, traceFlags, spanId: derivedSpanId(`${runId}/${this.#spans}`) };
    if (!isSampled(parent)) return;
    // The true time, which the run itself never learns.
    const startedAtMs = unsafe.now();
    const span = { ...this.#cause, parentSpanId: parent.spanId, name, startedAtMs, workflowId, runId };
    this.#sinks.trace.span(span);
  }

  /** The headers of a call that goes out. */
  headers(given: Headers): Headers {
    if (this.#cause === undefined) return given;
    const traceparent = formatTraceparent(this.#cause);
    return { ...given, [traceHeader]: defaultPayloadConverter.toPayload({ traceparent }) };
  }
}

function readHeader(headers: Headers): TracePoint | undefined {
  const payload = headers[traceHeader];
  if (payload === undefined) return undefined;
  const carried: unknown = defaultPayloadConverter.fromPayload(payload);
  if (typeof carried !== 'object' || carried === null || !('traceparent' in carried)) return undefined;
  return parseTraceparent(carried.traceparent);
}

/** FNV-1a, 64 bits: the same text gives the same id in every replay, and the sandbox has no other hash. */
function derivedSpanId(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let index = 0; index < text.length; index += 1) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(index))) * 0x100000001b3n);
  }
  return hash === 0n ? '1'.padStart(16, '0') : hash.toString(16).padStart(16, '0');
}

const inbound = (trace: RunTrace): WorkflowInboundCallsInterceptor => ({
  execute(input: WorkflowExecuteInput, next) {
    trace.enter(`RunWorkflow:${workflowInfo().workflowType}`, input.headers);
    return next(input);
  },
  handleSignal(input: SignalInput, next) {
    trace.enter(`HandleSignal:${input.signalName}`, input.headers);
    return next(input);
  },
  handleUpdate(input: UpdateInput, next) {
    // One without arguments asks how something ends; it causes nothing.
    if (input.args.length > 0) trace.enter(`HandleUpdate:${input.name}`, input.headers);
    return next(input);
  },
});

const outbound = (trace: RunTrace): WorkflowOutboundCallsInterceptor => ({
  scheduleActivity: (input: ActivityInput, next) => next({ ...input, headers: trace.headers(input.headers) }),
  scheduleLocalActivity: (input: LocalActivityInput, next) =>
    next({ ...input, headers: trace.headers(input.headers) }),
  startChildWorkflowExecution: (input: StartChildWorkflowExecutionInput, next) =>
    next({ ...input, headers: trace.headers(input.headers) }),
  signalWorkflow: (input: SignalWorkflowInput, next) =>
    next({ ...input, headers: trace.headers(input.headers) }),
  continueAsNew: (input: ContinueAsNewInput, next) =>
    next({ ...input, headers: trace.headers(input.headers) }),
});

/** Made anew for every run, within its sandbox. */
export const interceptors: WorkflowInterceptorsFactory = () => {
  const trace = new RunTrace();
  return { inbound: [inbound(trace)], outbound: [outbound(trace)] };
};
