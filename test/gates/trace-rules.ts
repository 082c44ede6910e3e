/** What every process owes to the trace: no router, listener, client, publish or delivery outside it. */
import { withoutComments, type SourceFile } from './source-files.ts';

const lineOf = (text: string, index: number): number => text.slice(0, index).split('\n').length;

/** Routers whose first call is not the tracing middleware. */
function untracedRouters({ path, text }: SourceFile): string[] {
  const clean = withoutComments(text);
  return [
    ...clean.matchAll(/(?:(?:const|let)\s+(\w+)[^=;]*=\s*)?\b(?:express(?:\.Router)?|Router)\(/g),
  ].flatMap(({ 1: name, index, 0: found }) => {
    const where = `${path}:${lineOf(clean, index)}`;
    if (name === undefined) return [`${where}: a router without a name cannot be traced first`];
    const rest = clean.slice(index + found.length);
    const first = new RegExp(
      `\\b${name}\\s*\\.(use|all|get|post|put|patch|delete|route)\\(\\s*([^\\s(,)]*)`,
    ).exec(rest);
    return first?.[1] === 'use' && first[2] === 'traceRequests'
      ? []
      : [`${where}: the first middleware of ${name} is not traceRequests`];
  });
}

/** Listeners that serve something else than a router. */
function untracedListeners({ path, text }: SourceFile): string[] {
  const clean = withoutComments(text);
  return [...clean.matchAll(/\b(createServer|createTlsServer|createSecureServer)\(([^;]*?)\)/g)]
    .filter(([, , args = '']) => !/\w\.express\b/.test(args))
    .map(({ index }) => `${path}:${lineOf(clean, index)}: a listener that serves no traced router`);
}

/** The one file that takes wishes for sockets, each of them in a span. */
const upgradesFile = 'api/server.ts';

/** Sockets that come past it. */
function untracedSockets({ path, text }: SourceFile): string[] {
  const clean = withoutComments(text);
  const at = (index: number, why: string): string => `${path}:${lineOf(clean, index)}: ${why}`;
  const listeners = path === upgradesFile ? [] : clean.matchAll(/['"`]upgrade['"`]/g);
  return [
    ...[...listeners].map(({ index }) => at(index, 'a listener for upgrades beside acceptUpgrades')),
    ...[...clean.matchAll(/\bnew\s+(?:\w+\.)?(?:WebSocketServer|Server)\(([^;]*?)\)/g)]
      .filter(([, args = '']) => !/\bnoServer: true\b/.test(args))
      .map(({ index }) => at(index, 'a socket server that takes its connections itself')),
    ...[...clean.matchAll(/\.upgrade\(/g)]
      .filter(({ index }) => path !== upgradesFile || !inHandshake(clean, index))
      .map(({ index }) => at(index, 'a socket that is opened outside the span of its handshake')),
  ];
}

/** True within the function that describes what became of a handshake. */
function inHandshake(text: string, index: number): boolean {
  const begin = text.lastIndexOf('\nasync function ', index);
  const end = text.indexOf('\n}\n', begin);
  const body = text.slice(begin, end);
  return (
    begin >= 0 &&
    index < end &&
    body.startsWith('\nasync function shakeHands(') &&
    /\bdescribeRequest\(/.test(body)
  );
}

/** A file that must hold a text, and what is wrong when it does not. */
export interface Demand {
  readonly path: string;
  readonly pattern: RegExp;
  readonly why: string;
}

const begins = (path: string): Demand => ({
  path,
  pattern: /^(?:(?!\bopenTemporal\()[\s\S])*\bstartTracing\(/,
  why: 'a process that does not begin to trace before it makes its clients',
});

/** The hops that are no router. */
export const hopDemands: readonly Demand[] = [
  begins('api/main.ts'),
  begins('workers/worker.ts'),
  begins('workers/relay/main.ts'),
  begins('workers/consumers/main.ts'),
  {
    path: 'api/middleware/pipeline.ts',
    pattern: /\bdescribeRequest\(/,
    why: 'requests whose spans say nothing',
  },
  {
    path: upgradesFile,
    pattern:
      /\bon\('upgrade', (?:(?!\n {2}\}\);)[\s\S])*\btraceHandshake\(request, listener, \(\) => shakeHands\(/,
    why: 'handshakes of sockets outside the trace',
  },
  {
    path: 'activities/platform/temporal.ts',
    pattern: /interceptors: \{ workflow: clientInterceptors\(\)/,
    why: 'a client of the engine outside the trace',
  },
  {
    path: 'workers/worker.ts',
    pattern: /activityInterceptors\(tracing\)[\s\S]*sinks: workflowSinks\(tracing\)/,
    why: 'activities or runs outside the trace',
  },
  {
    path: 'workers/bundle.ts',
    pattern: /workflowInterceptorModules: \[[^\]]*trace\.interceptor\.ts/,
    why: 'runs that do not carry the trace on',
  },
  { path: 'db/outbox.ts', pattern: /\bactiveTraceparent\(\)/, why: 'events whose rows hold no trace' },
  {
    path: 'workers/relay/jetstream.ts',
    pattern: /\bwithRemoteParent\(row\.traceparent/,
    why: 'publishes outside the trace',
  },
  {
    path: 'workers/consumers/main.ts',
    pattern: /\bwithRemoteParent\(traceparent/,
    why: 'deliveries outside the trace',
  },
  {
    path: 'workers/node-agent/runner.ts',
    pattern: /\btraces\.start\(task\)/,
    why: 'node tasks outside the trace',
  },
];

/** Every hop outside the trace. @param files of api, activities, workers and db. */
export function untraced(files: readonly SourceFile[]): string[] {
  const api = files.filter(({ path }) => path.startsWith('api/'));
  const missing = hopDemands.flatMap(({ path, pattern, why }) => {
    const file = files.find((one) => one.path === path);
    return file !== undefined && pattern.test(withoutComments(file.text)) ? [] : [`${path}: ${why}`];
  });
  return [
    ...api.flatMap(untracedRouters),
    ...api.flatMap(untracedListeners),
    ...api.flatMap(untracedSockets),
    ...missing,
  ];
}
