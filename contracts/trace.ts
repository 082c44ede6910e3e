/** How a trace travels: the W3C `traceparent`, in headers, columns and messages alike. */

/** Header of Temporal's calls that carries a trace; its value is a payload `{ traceparent }`. */
export const traceHeader = '_tracer-data';

/** Version 00 only, and neither id all zeros: anything else counts as no trace. */
const traceparentPattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

/** A place in a trace. */
export interface TracePoint {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  /** Bit 0: recorded. */
  readonly traceFlags: number;
}

/** Reads a `traceparent`; undefined for everything that is none. */
export function parseTraceparent(text: unknown): TracePoint | undefined {
  if (typeof text !== 'string') return undefined;
  const [, traceId, spanId, flags] = traceparentPattern.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) };
}

export const formatTraceparent = ({ traceId, spanId, traceFlags }: TracePoint): string =>
  `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`;

/** True when whoever began the trace wants its spans recorded. */
export const isSampled = (point: TracePoint): boolean => (point.traceFlags & 1) === 1;

/** What a run did on behalf of one start, signal or update, as it leaves the workflow's sandbox. */
export interface WorkflowSpan extends TracePoint {
  readonly parentSpanId: string;
  readonly name: string;
  /** When the call came in, in ms since the epoch. */
  readonly startedAtMs: number;
  readonly workflowId: string;
  readonly runId: string;
}
