import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { annotations, unexplained } from './breaking-changes.ts';
import { findings } from './canonical-errors.ts';

const gates = fileURLToPath(new URL('.', import.meta.url));
const generated = join(gates, '../../contracts/generated');

interface Run {
  readonly code: number;
  readonly output: string;
}

const run = (command: string, args: readonly string[], cwd?: string): Promise<Run> =>
  new Promise((resolve) => {
    const options = cwd === undefined ? {} : { cwd };
    execFile(command, args, { ...options, encoding: 'utf8' }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, output: stdout + stderr });
    });
  });

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gates-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Replaces exactly one text; the plant of a test must not miss its soil. */
function replaceOnce(text: string, from: string | RegExp, to: string): string {
  const changed = text.replace(from, to);
  if (changed === text) throw new Error(`nothing to replace: ${String(from)}`);
  return changed;
}

describe('contracts_validate.sh', () => {
  const gate = join(gates, 'contracts_validate.sh');

  it('passes the committed documents', async () => {
    expect(await run(gate, [])).toMatchObject({ code: 0 });
  }, 120_000);

  /** Rule, document, what to replace and by what; all plants of one document are refused in one run. */
  const plants: readonly (readonly [string, string, string | RegExp, string])[] = [
    ['operation-operationId', 'openapi', '      operationId: getHealthz\n', ''],
    ['gpuaas-operation-id-camel-case', 'openapi', 'operationId: getReadyz', 'operationId: get_readyz'],
    ['gpuaas-operation-complete', 'openapi', /summary: The process lives\n/, 'x-nothing: 1\n'],
    ['operation-tag-defined', 'openapi', /tags:\n        - health\n/, 'tags:\n        - other\n'],
    ['gpuaas-common-errors', 'openapi', /        '405':\n.*MethodNotAllowed'\n/, ''],
    ['gpuaas-mutation-errors', 'openapi', /        '415':\n.*UnsupportedMediaType'\n/, ''],
    ['gpuaas-authenticated-errors', 'openapi', /        '401':\n.*\/Unauthorized'\n/, ''],
    ['gpuaas-rate-limited-errors', 'openapi', /        '429':\n.*TooManyRequests'\n/, ''],
    [
      'gpuaas-mutation-idempotency-key',
      'openapi',
      /        - \$ref: '#\/components\/parameters\/IdempotencyKey'\n/,
      '',
    ],
    ['gpuaas-admin-mutation-audited', 'openapi', /      x-audit-action: .*\n/, ''],
    ['gpuaas-error-answer', 'openapi', "                  - $ref: '#/components/schemas/Error'\n", ''],
    [
      'gpuaas-correlation-header',
      'openapi',
      /headers:\n            X-Correlation-Id:/,
      'headers:\n            X-Other:',
    ],
    [
      'gpuaas-answer-headers-present',
      'openapi',
      /Placed\.\n          headers:/,
      'Placed.\n          x-headers:',
    ],
    ['gpuaas-snake-case-properties', 'openapi', 'next_cursor:', 'nextCursor:'],
    ['gpuaas-snake-case-parameters', 'openapi', 'name: cursor', 'name: pageCursor'],
    ['gpuaas-closed-objects', 'openapi', 'additionalProperties: false', 'additionalProperties: true'],
    ['gpuaas-closed-objects-stated', 'asyncapi', '      additionalProperties: false\n', ''],
    ['gpuaas-channel-delivery', 'asyncapi', '      ack_wait: 45s\n', ''],
    [
      'gpuaas-channel-delivery',
      'asyncapi',
      'dlq_subject: dlq.gpuaas.provisioning.active',
      'dlq_subject: dead.active',
    ],
    ['gpuaas-message-id', 'asyncapi', /      messageId: .*\n/, ''],
    ['gpuaas-message-id', 'asyncapi', 'name: ReleaseFailedEvent', 'name: release_failed'],
  ];

  it.each(['openapi', 'asyncapi'])(
    'refuses a violation of every rule of its own in %s',
    async (name) => {
      let text = await readFile(join(generated, `${name}.yaml`), 'utf8');
      const planted = plants.filter(([, document]) => document === name);
      for (const [, , from, to] of planted) text = replaceOnce(text, from, to);
      const path = join(folder, `${name}.yaml`);
      await writeFile(path, text);
      const { code, output } = await run(gate, [path]);
      expect(code).toBe(1);
      for (const [rule] of planted) {
        const times = planted.filter(([other]) => other === rule).length;
        expect(output.split(` ${rule} `).length - 1, `${rule}\n${output}`).toBeGreaterThanOrEqual(times);
      }
    },
    60_000,
  );

  it('has a violation planted for every rule of its own', async () => {
    const rules = await readFile(join(gates, 'spectral.yaml'), 'utf8');
    const own = [...rules.matchAll(/^  (gpuaas-[a-z-]+):$/gm)].map(([, rule]) => rule);
    const planted = new Set(plants.map(([rule]) => rule));
    expect(own.filter((rule) => rule !== undefined && !planted.has(rule))).toEqual([]);
  });
});

describe('contracts_breaking_change.sh', () => {
  const gate = join(gates, 'contracts_breaking_change.sh');
  const documentPath = 'contracts/generated/openapi.yaml';
  const removed = /  \/api\/v1\/catalog\/skus:\n(?:(?:    .*)?\n)+/;
  const unreleased = (line: string) => `# Change log\n\n## Unreleased\n\n${line}\n`;

  async function put(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const git = async (...args: string[]): Promise<void> => {
    const who = ['-c', 'user.name=gate', '-c', 'user.email=gate@gpuaas.local', '-c', 'commit.gpgsign=false'];
    const { code, output } = await run('git', [...who, ...args], folder);
    if (code !== 0) throw new Error(output);
  };
  const commit = async (): Promise<void> => {
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'change');
  };
  const change = async (from: string | RegExp, to: string): Promise<void> => {
    const text = await readFile(join(folder, documentPath), 'utf8');
    await put(documentPath, replaceOnce(text, from, to));
  };

  beforeEach(async () => {
    await git('init', '--quiet');
    await put('README.md', 'first\n');
    await commit();
    await mkdir(join(folder, 'contracts/generated'), { recursive: true });
    await cp(join(generated, 'openapi.yaml'), join(folder, documentPath));
    await put('contracts/CHANGELOG.md', unreleased('- first version'));
  });

  it('passes the first version with a note, in the tree and as a commit', async () => {
    for (const step of [() => Promise.resolve(), commit]) {
      await step();
      const { code, output } = await run(gate, [folder]);
      expect(output).toContain('first version');
      expect(code).toBe(0);
    }
  });

  it('passes an unchanged document and an added endpoint', async () => {
    await commit();
    await put('README.md', 'second\n');
    expect((await run(gate, [folder])).output).toContain('is as in HEAD');
    const added = `  /api/v1/more:\n    get:\n      operationId: getMore\n      responses:\n        '200':\n          description: Ok.\n`;
    await change('paths:\n', `paths:\n${added}`);
    const { code, output } = await run(gate, [folder]);
    expect(output).toContain('no unexplained breaking change');
    expect(code).toBe(0);
  }, 120_000);

  it('refuses a removed path in the tree and as a commit, and names it', async () => {
    await commit();
    await change(removed, '');
    for (const step of [() => Promise.resolve(), commit]) {
      await step();
      const { code, output } = await run(gate, [folder]);
      expect(output).toContain('refused: GET /api/v1/catalog/skus');
      expect(code).toBe(1);
    }
  }, 120_000);

  it.each<[string, string | RegExp, string, string]>([
    [
      'a new required member of a request',
      /(required:\n        - project_id\n        - sku\n)/,
      '$1        - scheduler_type\n',
      'POST /api/v1/allocations',
    ],
    ['a tighter bound', 'maxLength: 16384', 'maxLength: 100', 'POST /api/v1/ssh-keys'],
    [
      'a member of an answer that is gone',
      '        fingerprint:\n',
      '        print:\n',
      'GET /api/v1/ssh-keys',
    ],
    [
      'an answer that is gone',
      /        '202':\n          description: Accepted(?:.*\n)+?        '400'/,
      "        '400'",
      'POST /api/v1/allocations',
    ],
  ])(
    'refuses %s',
    async (_, from, to, place) => {
      await commit();
      await change(from, to);
      const { code, output } = await run(gate, [folder]);
      expect(output).toContain(`refused: ${place}`);
      expect(code).toBe(1);
    },
    60_000,
  );

  it('passes an explained change, and the same line does not explain the next one', async () => {
    await commit();
    await change(removed, '');
    await put('contracts/CHANGELOG.md', unreleased('- breaking: GET /api/v1/catalog/skus: moved elsewhere'));
    const explained = await run(gate, [folder]);
    expect(explained.output).toContain('explained: GET /api/v1/catalog/skus');
    expect(explained.code).toBe(0);
    await commit();
    expect((await run(gate, [folder])).code).toBe(0);

    await cp(join(generated, 'openapi.yaml'), join(folder, documentPath));
    await commit();
    await change(removed, '');
    const repeated = await run(gate, [folder]);
    expect(repeated.output).toContain('refused: GET /api/v1/catalog/skus');
    expect(repeated.code).toBe(1);
  }, 120_000);

  it('refuses a field of an event that is gone, in the tree and as a commit', async () => {
    const events = 'contracts/generated/asyncapi.yaml';
    const text = await readFile(join(generated, 'asyncapi.yaml'), 'utf8');
    await put(events, text);
    await commit();
    await put(events, replaceOnce(text, /        active_at:\n(?: {10}.*\n)+/, ''));
    for (const step of [() => Promise.resolve(), commit]) {
      await step();
      const { code, output } = await run(gate, [folder]);
      expect(output).toContain('refused: EVENT gpuaas.provisioning.active');
      expect(code).toBe(1);
    }
  }, 120_000);

  it('compares with the point where the branch left its upstream, or with the base that is given', async () => {
    await commit();
    await git('branch', 'upstream');
    await git('branch', '--set-upstream-to', 'upstream');
    await change(removed, '');
    await commit();
    await put('README.md', 'second\n');
    await commit();
    const { code, output } = await run(gate, [folder]);
    expect(output).toContain('refused: GET /api/v1/catalog/skus');
    expect(code).toBe(1);
    const based = await run('env', ['CONTRACT_BASE=HEAD', 'bash', gate, folder]);
    expect(based.output).toContain('is as in HEAD');
    expect(based.code).toBe(0);
  }, 120_000);

  it('is stopped by a base that is not there, whatever there is to refuse', async () => {
    await commit();
    await change(removed, '');
    await commit();
    for (const base of ['HEAD~9', 'orgin/main', '0123456789012345678901234567890123456789']) {
      const { code, output } = await run('env', [`CONTRACT_BASE=${base}`, 'bash', gate, folder]);
      expect(output).toContain(`there is no commit ${base}`);
      expect(code).toBe(2);
    }
    const none = join(folder, 'none');
    await mkdir(none);
    expect(await run('env', ['GIT_CEILING_DIRECTORIES=' + folder, 'bash', gate, none])).toMatchObject({
      code: 2,
    });
  }, 60_000);

  it('is stopped by a clone whose history ends before the base, and not by a first commit', async () => {
    await commit();
    await change(removed, '');
    await commit();
    const clone = async (depth: number): Promise<string> => {
      const to = join(folder, `clone-${depth}`);
      await git('clone', '--quiet', `--depth=${depth}`, `file://${folder}`, to);
      return to;
    };
    const cut = await run(gate, [await clone(1)]);
    expect(cut.output).toContain('fetch more of it');
    expect(cut.code).toBe(2);
    const enough = await run(gate, [await clone(2)]);
    expect(enough.output).toContain('refused: GET /api/v1/catalog/skus');
    expect(enough.code).toBe(1);
    await git('checkout', '--quiet', '--orphan', 'root');
    await commit();
    const root = await run(gate, [folder]);
    expect(root.output).toContain('no earlier commit: nothing to compare with');
    expect(root.code).toBe(0);
  }, 60_000);

  it.each([
    ['another method', '- breaking: POST /api/v1/catalog/skus: why'],
    ['another path', '- breaking: GET /api/v1/catalog: why'],
    ['no reason', '- breaking: GET /api/v1/catalog/skus:'],
  ])(
    'a line with %s explains nothing',
    async (_, line) => {
      await commit();
      await change(removed, '');
      await put('contracts/CHANGELOG.md', unreleased(line));
      expect((await run(gate, [folder])).code).toBe(1);
    },
    60_000,
  );
});

describe('annotations', () => {
  it('count below a heading only', () => {
    const line = 'breaking: GET /a: why';
    expect([...annotations(line)]).toEqual([]);
    expect([...annotations(`## Unreleased\n${line}`)]).toEqual([['GET /a', [line]]]);
    expect([...annotations(`## 0.2.0\n* ${line}`)]).toEqual([['GET /a', [`* ${line}`]]]);
  });

  it.each([
    ['kind', 'operation/kind', []],
    ['the code of an error', 'error/anyOf[#/components/schemas/Error]/code', []],
    [
      'a state',
      'items/items/state',
      ['added the new `x` enum value to the `items/items/state` response property'],
    ],
  ])('a new word of %s', (_, place, refused) => {
    const text = `added the new \`x\` enum value to the \`${place}\` response property`;
    const change = { id: 'response-property-enum-value-added', text, level: 3 };
    expect(unexplained([change], '', '').map((one) => one.text)).toEqual(refused);
  });

  it('a change of no operation is the document', () => {
    const change = { id: 'x', text: 't', level: 3 };
    expect(unexplained([change], '', '## 1\nbreaking: DOCUMENT: why')).toEqual([]);
    expect(unexplained([change], '', '')).toEqual([change]);
    expect(unexplained([{ ...change, level: 2 }], '', '')).toEqual([]);
  });
});

describe('canonical_error_guard.sh', () => {
  it('passes the tree', async () => {
    expect(await run(join(gates, 'canonical_error_guard.sh'), [])).toMatchObject({ code: 0 });
  }, 120_000);

  it.each([
    ['api/a.routes.ts', "throw new CodedError('allocation_lost');"],
    ['activities/a.ts', "ApplicationFailure.create({ message: `a`, type: 'made_up', nonRetryable: true });"],
    ['workflows/a.ts', "throw ApplicationFailure.nonRetryable('no', 'made_up');"],
    ['api/a.routes.ts', 'response.status(404).json({});'],
    ['api/a.routes.ts', 'return { status: 409, body: {} };'],
    ['api/a.routes.ts', 'response.writeHead(503).end();'],
    ['api/a.ts', 'class NotFound extends Error {}'],
    ['api/a.ts', "({ code: 'x', message: 'y', correlation_id: id });"],
  ])('%s: refuses %s', (path, text) => {
    expect(findings(path, `\n${text}\n`).map(({ line }) => line)).toEqual([2]);
  });

  it.each([
    ['api/a.routes.ts', "throw new CodedError('allocation_not_found');"],
    ['api/middleware/errors.ts', 'response.status(500);'],
    ['api/a.routes.ts', 'return { status: 202, body: {} };'],
    ['activities/a.ts', "ApplicationFailure.create({ message, type: 'internal_error' });"],
    ['workers/relay/a.ts', 'class PublishError extends Error {}'],
  ])('%s: passes %s', (path, text) => {
    expect(findings(path, text)).toEqual([]);
  });
});

describe('codegen_clean.sh', () => {
  it('passes the tree', async () => {
    expect(await run(join(gates, 'codegen_clean.sh'), [])).toMatchObject({ code: 0 });
  }, 120_000);
});
