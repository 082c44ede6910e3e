/** Judges traces by the parent links of their spans alone. */
import type { Span } from './collector.ts';

/** One kind of hop that a trace has to contain. */
export interface Hop {
  readonly what: string;
  readonly service: string;
  readonly name: RegExp;
}

/** Names from a span up to where its chain ends, and whether that is `rootParentId`. */
function climb(span: Span, byId: ReadonlyMap<string, Span>, rootParentId: string) {
  const path: Span[] = [];
  const seen = new Set<string>();
  let at: Span | undefined = span;
  let parentId: string | undefined;
  while (at !== undefined && !seen.has(at.spanId)) {
    seen.add(at.spanId);
    path.push(at);
    parentId = at.parentSpanId;
    at = parentId === undefined ? undefined : byId.get(parentId);
  }
  return { path, reached: parentId === rootParentId };
}

/**
 * What is wrong with one trace: spans whose chain of parents does not end at the caller's span, and hops without a span.
 * @param root `traceId` and the caller's `spanId`, as its `traceparent` named them.
 */
export function faultsOf(
  spans: readonly Span[],
  root: { readonly traceId: string; readonly spanId: string },
  hops: readonly Hop[],
): string[] {
  const own = spans.filter(({ traceId }) => traceId === root.traceId);
  const byId = new Map(own.map((span) => [span.spanId, span]));
  const judged = own.map((span) => ({ span, ...climb(span, byId, root.spanId) }));
  const lost = judged
    .filter(({ reached }) => !reached)
    .map(({ span, path }) => {
      const top = path.at(-1);
      return `${span.service} ${span.name}: its chain ends at ${top?.name} (parent ${top?.parentSpanId})`;
    });
  const missing = hops
    .filter(
      ({ service, name }) =>
        !judged.some(({ span, reached }) => reached && span.service === service && name.test(span.name)),
    )
    .map(({ what }) => `no span: ${what}`);
  return [...lost, ...missing];
}

/** The services on the way from a span up to its root, without repeats in a row. */
export function servicesUpwards(spans: readonly Span[], span: Span): string[] {
  const byId = new Map(spans.map((one) => [one.spanId, one]));
  return climb(span, byId, '')
    .path.map(({ service }) => service)
    .filter((service, index, all) => service !== all[index - 1]);
}
