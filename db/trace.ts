import { context, trace } from '@opentelemetry/api';
import { formatTraceparent } from '../contracts/trace.ts';

/** The span that runs now, as rows keep it for whoever goes on with the work; null when nothing is traced. */
export function activeTraceparent(): string | null {
  const now = trace.getSpanContext(context.active());
  return now === undefined ? null : formatTraceparent(now);
}
