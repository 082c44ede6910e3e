/** The gates of audit and trace, each against the tree as it is and against planted offences. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { missingAudits, missingProofs, type AuditedEndpoint } from './audit-rules.ts';
import { readSources, type SourceFile } from './source-files.ts';
import { hopDemands, untraced } from './trace-rules.ts';

const timeoutMs = 120_000;
const root = fileURLToPath(new URL('../..', import.meta.url));

const run = (script: string): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    execFile(fileURLToPath(new URL(script, import.meta.url)), (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, output: stdout + stderr });
    });
  });

describe.each(['observability_trace_gate.sh', 'audit_mandatory_guard.sh', 'audit_presence_guard.sh'])(
  '%s',
  (script) => {
    it(
      'passes the tree',
      async () => {
        expect(await run(script)).toMatchObject({ code: 0 });
      },
      timeoutMs,
    );
  },
);

let product: SourceFile[] = [];
beforeAll(async () => {
  product = await readSources(root, ['api', 'activities', 'workers', 'db']);
}, timeoutMs);

/** The tree with one file changed. */
function changed(path: string, from: string | RegExp, to: string): SourceFile[] {
  const file = product.find((one) => one.path === path);
  if (file === undefined) throw new Error(`no ${path}`);
  const text = file.text.replace(from, to);
  if (text === file.text) throw new Error(`nothing to replace in ${path}: ${String(from)}`);
  return product.map((one) => (one === file ? { path, text } : one));
}

describe('the trace gate', () => {
  it.each<[string, string]>([
    ['const app = express();\napp.get("/x", handle);', 'is not traceRequests'],
    ['const app = express();\napp.use(other);\napp.use(traceRequests("public"));', 'is not traceRequests'],
    ['const app = express();\n// app.use(traceRequests("public"));\n', 'is not traceRequests'],
    ['const more = express.Router();\nmore.post("/x", handle);', 'is not traceRequests'],
    ['app.use("/x", Router());', 'without a name'],
    ['createServer((request, response) => response.end());', 'serves no traced router'],
    ['createTlsServer(tls, handler);', 'serves no traced router'],
    ['server.on("upgrade", take);', 'beside acceptUpgrades'],
    ["server.once('upgrade', (request, socket, head) => sockets.take(request));", 'beside acceptUpgrades'],
    ['new WebSocketServer({ server });', 'takes its connections itself'],
    ['new ws.Server({ port: 1, path: "/ws/x" });', 'takes its connections itself'],
    ['void sockets.upgrade(wish);', 'outside the span of its handshake'],
  ])('refuses %j', (text, why) => {
    const found = untraced([...product, { path: 'api/planted.ts', text }]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^api\/planted\.ts:/);
    expect(found[0]).toContain(why);
  });

  it.each([
    'const app: Express = express();\napp.disable("x");\napp.use(traceRequests(listener));\napp.use(other);',
    'listen(createServer(one.express), one);',
    'listen(createTlsServer(tls, one.express), one);',
    'new WebSocketServer({ noServer: true, maxPayload: 1 });',
    '// server.on("upgrade", take);\nconst route = { operation: "x", upgrade: (wish) => take(wish) };',
  ])('passes %j', (text) => {
    expect(untraced([...product, { path: 'api/planted.ts', text }])).toEqual([]);
  });

  it.each(hopDemands.map((demand) => [`${demand.path}: ${demand.why}`, demand] as const))(
    'misses %s',
    (finding, { path }) => {
      const without = product.map((one) => (one.path === path ? { path, text: '' } : one));
      expect(untraced(without)).toContain(finding);
    },
  );

  it.each<[string, string | RegExp, string, string]>([
    [
      'opened before its span',
      'void traceHandshake(',
      'void untraced(',
      'handshakes of sockets outside the trace',
    ],
    [
      'opened in no span',
      '() => shakeHands(path, route, wish, log)',
      '() => route.upgrade(wish)',
      'outside the span of its handshake',
    ],
    ['whose span says nothing', /describeRequest\(/, 'forget(', 'outside the span of its handshake'],
  ])('sees a socket %s', (_, from, to, why) => {
    const found = untraced(changed('api/server.ts', from, to));
    expect(found.join('\n')).toMatch(/^api\/server\.ts:/);
    expect(found.join()).toContain(why);
  });

  it('sees a client that is made before tracing begins', () => {
    const early = changed(
      'workers/worker.ts',
      'installRuntime(env, log);',
      'openTemporal(env); installRuntime(env, log);',
    );
    expect(untraced(early).join()).toContain('workers/worker.ts: a process that does not begin to trace');
    const late = changed('workers/consumers/main.ts', /startTracing\(/, 'noTracing(');
    expect(untraced(late).join()).toContain(
      'workers/consumers/main.ts: a process that does not begin to trace',
    );
  });
});

describe('the audit gates', () => {
  const forced = { id: 'planted', method: 'post', auth: 'admin', audit: 'thing.done' };
  const writing = (result: string, action = `'thing.done'`): SourceFile => ({
    path: 'api/planted.ts',
    text: `await writeAudit(tx, { actorUserId: id, action: ${action}, details: { a: 1 }, result: ${result} });`,
  });

  it.each<[string, AuditedEndpoint, SourceFile | undefined, string]>([
    ['no action', { ...forced, audit: undefined }, undefined, 'declares no audit action'],
    ['nobody who writes it', forced, undefined, 'nobody writes thing.done'],
    ['only refusals', forced, writing(`'refused'`), 'nobody writes thing.done'],
    ['another action', forced, writing(`'succeeded'`, `'thing.undone'`), 'nobody writes thing.done'],
    [
      'a call that is commented out',
      forced,
      { path: 'api/planted.ts', text: `// ${writing(`'succeeded'`).text}` },
      'nobody writes thing.done',
    ],
  ])('refuse a mutation with %s', (_, one, file, why) => {
    const found = missingAudits([...endpoints, one], file === undefined ? product : [...product, file]);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(why);
  });

  const chosen = `
async function audit(tx) {
  const about = one ? { action: 'thing.done' } : { action: 'thing.undone' };
  await writeAudit(tx, { ...about, result: 'succeeded' });
}`;
  it('refuse a mutation whose action another body names', () => {
    const text = `
function other() {
  return { action: 'thing.done' };
}
async function audit(tx, about) {
  await writeAudit(tx, { ...about, result: 'succeeded' });
}`;
    const found = missingAudits([...endpoints, forced], [...product, { path: 'api/planted.ts', text }]);
    expect(found.join()).toContain('nobody writes thing.done');
  });

  it.each([
    writing(`'succeeded'`),
    writing('outcome'),
    writing(`'succeeded'`, 'planted.audit'),
    { path: 'api/planted.ts', text: chosen },
  ])('pass a mutation whose success is written', (file) => {
    expect(missingAudits([...endpoints, forced], [...product, file])).toEqual([]);
  });

  it('refuse a pipeline that does not write refusals down', () => {
    const silent = changed('api/middleware/pipeline.ts', /await auditRefusal\(/, 'await forget(');
    expect(missingAudits(endpoints, silent).join()).toContain('is not written into the audit log');
  });

  const test: SourceFile = {
    path: 'test/planted.test.ts',
    text: `expect(await get("audit-logs?action=" + 'thing.done')).toEqual(['succeeded', 'refused'])`,
  };
  const proof = { succeeded: test.path, refused: test.path };

  it.each<[string, Record<string, typeof proof>, readonly SourceFile[], string]>([
    ['no proof', {}, [test], 'no test is named'],
    ['a proof that is not there', { planted: proof }, [], 'is not there'],
    [
      'a proof of another action',
      { planted: proof },
      [{ ...test, text: test.text.replace('done', 'undone') }],
      'does not look',
    ],
    [
      'a proof of the refusal only',
      { planted: proof },
      [{ ...test, text: test.text.replace(`'succeeded', `, '') }],
      'does not look',
    ],
    ['proofs of what is no mutation', { planted: proof, other: proof }, [test], 'is no privileged mutation'],
  ])('refuse %s', (_, proofs, tests, why) => {
    expect(missingProofs([forced], proofs, tests).join()).toContain(why);
  });

  it('pass a mutation with both proofs', () => {
    expect(missingProofs([forced], { planted: proof }, [test])).toEqual([]);
  });
});
