/** A collector that takes OTLP over HTTP in JSON and keeps every span, as exporters send it. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

const attributes = z
  .array(z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) }))
  .default([]);
const spanSchema = z.object({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z.string().optional(),
  name: z.string(),
  startTimeUnixNano: z.coerce.bigint(),
  endTimeUnixNano: z.coerce.bigint(),
  attributes,
  status: z.object({ code: z.number().optional(), message: z.string().optional() }).optional(),
});
const exportSchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeSpans: z.array(z.object({ spans: z.array(spanSchema) })),
    }),
  ),
});

/** One span as it arrived. */
export interface Span {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly isError: boolean;
  /** From its beginning to its end, in ms. */
  readonly durationMs: number;
}

type Attributes = z.output<typeof attributes>;
const plain = (list: Attributes): Record<string, string | number> =>
  Object.fromEntries(
    list.map(({ key, value }) => {
      const text = value['stringValue'];
      return [key, typeof text === 'string' ? text : Number(value['intValue'] ?? value['doubleValue'])];
    }),
  );

/** The spans of one request of an exporter. @throws when it is no OTLP. */
export function readExport(body: string): Span[] {
  return exportSchema.parse(JSON.parse(body)).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({
        service: String(plain(resource.attributes)['service.name']),
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId === '' ? undefined : span.parentSpanId,
        name: span.name,
        attributes: plain(span.attributes),
        isError: span.status?.code === 2,
        durationMs: Number(span.endTimeUnixNano - span.startTimeUnixNano) / 1e6,
      })),
  );
}

/** A collector that runs. */
export interface Collector {
  readonly url: string;
  /** Everything that has come, in order of arrival. */
  readonly spans: readonly Span[];
  /** Bodies as they came. */
  readonly bodies: readonly string[];
  /** Requests that were no OTLP. */
  readonly rejected: readonly string[];
  stop(): Promise<void>;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

export async function startCollector(): Promise<Collector> {
  const spans: Span[] = [];
  const bodies: string[] = [];
  const rejected: string[] = [];
  const server = createServer((request, response) => {
    void textOf(request).then((body) => {
      try {
        if (request.url !== '/v1/traces') throw new Error(`no such path: ${request.url}`);
        bodies.push(body);
        spans.push(...readExport(body));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      } catch (error) {
        rejected.push(String(error));
        response.writeHead(400).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    rejected,
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
