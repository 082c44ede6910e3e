import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { schemathesisPython, schemathesisUnavailable } from './install.ts';
import { judgeFuzz, runSchemathesis, type FuzzVerdict } from './schemathesis.ts';
import { startFuzzWorld, type FuzzWorld } from './world.ts';

const unavailable = await schemathesisUnavailable();
const document = fileURLToPath(new URL('../../contracts/generated/openapi.yaml', import.meta.url));
const configFile = fileURLToPath(new URL('schemathesis.toml', import.meta.url));
const examples =
  process.env['FUZZ_EXAMPLES'] === undefined ? undefined : Number(process.env['FUZZ_EXAMPLES']);
const deadlineMs = 300_000 + (examples ?? 0) * 30_000;
const installTimeoutMs = 300_000;

const report = (what: string, { requests, limited, byStatus }: FuzzVerdict): void => {
  const statuses = Object.entries(byStatus).map(([status, count]) => `${status}: ${count}`);
  process.stdout.write(`${what}: ${requests} answers, ${limited} of them 429 (${statuses.join(', ')})\n`);
};

const operationsOf = (listener: 'public' | 'internal'): string[] =>
  endpoints
    .filter((endpoint) => endpoint.listener === listener)
    .map(({ method, path: at }) => `${method.toUpperCase()} ${at}`);

describe.skipIf(unavailable !== undefined)(
  `the API, fuzzed from its document (${unavailable ?? 'installed'})`,
  () => {
    let python: string;
    let world: FuzzWorld;

    beforeAll(async () => {
      [python, world] = await Promise.all([
        schemathesisPython((line) => void process.stdout.write(`${line}\n`)),
        startFuzzWorld(),
      ]);
    }, installTimeoutMs);

    afterAll(async () => {
      await world?.stop();
    });

    it(
      'keeps the contract on the listener of the node-agents',
      async () => {
        const { internalUrl: url, nodeSecret: token, factsDir, caFile } = world;
        const operations = ['--include-tag', 'node-agents'];
        const target = { document, url, token, factsDir, caFile, operations, examples, deadlineMs };
        const verdict = judgeFuzz(await runSchemathesis(python, target), operationsOf('internal'));
        report('internal listener', verdict);
        expect(verdict.complaints).toEqual([]);
      },
      deadlineMs,
    );

    it(
      'keeps the contract on the public listener, as an admin',
      async () => {
        const { apiUrl: url, adminToken: token, factsDir } = world;
        const operations = ['--exclude-tag', 'node-agents'];
        const target = { document, url, token, factsDir, operations, examples, deadlineMs };
        const verdict = judgeFuzz(await runSchemathesis(python, target), operationsOf('public'));
        report('public listener', verdict);
        expect(verdict.complaints).toEqual([]);
      },
      deadlineMs,
    );
  },
);

describe.skipIf(unavailable !== undefined)(`the fuzz runner (${unavailable ?? 'installed'})`, () => {
  let python: string;
  let factsDir: string;

  beforeAll(async () => {
    python = await schemathesisPython(() => undefined);
    factsDir = mkdtempSync(path.join(tmpdir(), 'gpuaas-fuzz-facts-'));
    for (const [, file] of readFileSync(configFile, 'utf8').matchAll(/from-file = "(.+?)"/g))
      writeFileSync(path.join(factsDir, file ?? ''), '"none"\n');
  }, installTimeoutMs);

  afterAll(() => rmSync(factsDir, { recursive: true, force: true }));

  const item = {
    type: 'object',
    properties: { id: { type: 'integer' } },
    required: ['id'],
    additionalProperties: false,
  };
  const documentOf = (paths: object): object => ({
    openapi: '3.1.0',
    info: { title: 'Planted', version: '1' },
    paths,
  });
  const answer = { 200: { description: 'One.', content: { 'application/json': { schema: item } } } };
  const refused = { description: 'No.' };
  const planted = documentOf({
    '/item': {
      get: { operationId: 'getItem', responses: { ...answer, 400: refused, 405: refused, 429: refused } },
    },
  });

  /** Fuzzes a server that answers GET as told and refuses every other method. */
  async function fuzz(
    paths: object,
    expected: readonly string[],
    get: RequestListener,
  ): Promise<FuzzVerdict> {
    const file = path.join(factsDir, 'planted.json');
    writeFileSync(file, JSON.stringify(paths));
    const server = createServer((request, response) => {
      if (request.method === 'GET') get(request, response);
      else response.writeHead(405, { allow: 'GET' }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const run = await runSchemathesis(python, {
        document: file,
        url,
        token: 't',
        factsDir,
        deadlineMs: 60_000,
      });
      return judgeFuzz(run, expected);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  const json =
    (status: number, body: object): RequestListener =>
    (_request, response) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

  it('is content with a server that keeps its document', async () => {
    const verdict = await fuzz(planted, ['GET /item'], (request, response) => {
      if ((request.url ?? '').includes('?')) response.writeHead(400).end();
      else json(200, { id: 1 })(request, response);
    });
    expect(verdict.complaints).toEqual([]);
    expect(verdict.requests).toBeGreaterThan(0);
  });

  it('reports an answer against the document', async () => {
    const { complaints } = await fuzz(planted, ['GET /item'], json(200, { id: 'one' }));
    expect(complaints.join('\n')).toMatch(/Response violates schema/);
  });

  it('reports a server that limits everything', async () => {
    const { complaints, limited } = await fuzz(planted, ['GET /item'], json(429, {}));
    expect(limited).toBeGreaterThan(0);
    expect(complaints).toContainEqual(expect.stringMatching(/answers are 429/));
    expect(complaints).toContainEqual(expect.stringMatching(/^GET \/item never succeeded: 429/));
  });

  it('reports a document without operations', async () => {
    const { complaints } = await fuzz(documentOf({}), [], json(200, { id: 1 }));
    expect(complaints).toContain('no operation was to be examined');
    expect(complaints).toContain('no request was answered');
  });

  it('reports an operation of the contract that was never called', async () => {
    const get = json(200, { id: 1 });
    const { complaints } = await fuzz(planted, ['GET /item', 'GET /other'], get);
    expect(complaints).toContain('GET /other never succeeded: never called');
  });
});
