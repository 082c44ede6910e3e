import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { inScratchTree, root, runTool } from './tree.ts';

const reportSchema = z.object({
  diagnostics: z.array(
    z.object({ code: z.string(), message: z.string(), help: z.string().optional(), filename: z.string() }),
  ),
  number_of_files: z.int(),
});

const later = 'async function later(): Promise<number> { return 1; }\n';

/** Where it stands, the offence, the rule that must say so, and what the message must name. */
const offences = [
  [
    'workflows/x/clock.ts',
    'export const at = (): number => Date.now();',
    'no-restricted-globals',
    'database clock',
  ],
  ['workflows/x/date.ts', 'export const at = () => new Date();', 'no-restricted-globals', 'database clock'],
  [
    'workflows/x/random.ts',
    'export const roll = (): number => Math.random();',
    'no-restricted-properties',
    'uuid4()',
  ],
  ['workflows/x/timer.ts', 'setTimeout(() => undefined, 5);', 'no-restricted-globals', 'sleep()'],
  ['workflows/x/interval.ts', 'setInterval(() => undefined, 5);', 'no-restricted-globals', 'sleep()'],
  [
    'workflows/x/env.ts',
    "export const home = process.env['HOME'];",
    'no-restricted-globals',
    "workflow's input",
  ],
  [
    'workflows/x/fetch.ts',
    "export const page = () => fetch('http://x');",
    'no-restricted-globals',
    'activity',
  ],
  [
    'workflows/x/crypto.ts',
    'export const id = () => crypto.randomUUID();',
    'no-restricted-globals',
    'uuid4()',
  ],
  ['workflows/x/console.ts', "console.info('x');", 'no-restricted-globals', 'log of'],
  [
    'workflows/x/performance.ts',
    'export const t = () => performance.now();',
    'no-restricted-properties',
    'activity',
  ],
  [
    'workflows/x/node.ts',
    "import { join } from 'node:path';\nexport const j = join;",
    'no-restricted-imports',
    'no Node',
  ],
  [
    'workflows/x/zod.ts',
    "import { z } from 'zod';\nexport const s = z;",
    'no-restricted-imports',
    'four times',
  ],
  [
    'workflows/x/act.ts',
    "import { a } from '../../activities/x/a.ts';\nexport const b = a;",
    'no-restricted-imports',
    'interface',
  ],
  [
    'workflows/x/db.ts',
    "import { a } from '../../db/client.ts';\nexport const b = a;",
    'no-restricted-imports',
    'language',
  ],
  [
    'workflows/x/api.ts',
    "import { a } from '../../api/route.ts';\nexport const b = a;",
    'no-restricted-imports',
    'language',
  ],
  ['api/x/pg.ts', "import pg from 'pg';\nexport const p = pg;", 'no-restricted-imports', 'openDatabase'],
  [
    'activities/x/pool.ts',
    "declare const pool: { query(s: string): void };\npool.query('x');",
    'no-restricted-properties',
    'store',
  ],
  ['api/x/floating.ts', `${later}export const f = (): void => { later(); };`, 'no-floating-promises', ''],
  [
    'api/x/misused.ts',
    `${later}export const f = (): string => (later() ? 'a' : 'b');`,
    'no-misused-promises',
    '',
  ],
  ['api/x/thenable.ts', 'export const f = async (): Promise<number> => await 5;', 'await-thenable', ''],
  ['api/x/any.ts', 'export const f = (a: any): unknown => a;', 'no-explicit-any', ''],
  ['api/x/throws.ts', "export const f = (): void => { throw 'x'; };", 'only-throw-error', ''],
  ['api/x/ignore.ts', '// @ts-ignore\nexport const f = 1;', 'ban-ts-comment', ''],
  ['api/x/bang.ts', 'export const f = (a: string | null): number => a!.length;', 'no-non-null-assertion', ''],
  [
    'api/x/switch.ts',
    "export function f(a: 'x' | 'y'): number { switch (a) { case 'x': return 1; }\nreturn 2; }",
    'switch-exhaustiveness-check',
    '',
  ],
  [
    'test/x/only.test.ts',
    "import { it } from 'vitest';\nit.only('x', () => undefined);",
    'no-focused-tests',
    '',
  ],
] as const;

/** What must stay allowed: the same calls where they belong. */
const innocent = {
  'api/x/clock.ts': 'export const at = (): number => Date.now() + Math.random();',
  'db/x.ts': "import pg from 'pg';\nexport const p = pg;",
  'test/workflows/x.ts': 'export const at = (): number => Date.now();',
  'workflows/x/good.ts': "import { sleep } from '@temporalio/workflow';\nexport const nap = () => sleep(5);",
} as const;

const tsconfig = JSON.stringify({
  compilerOptions: {
    target: 'es2023',
    lib: ['es2023', 'dom'],
    module: 'preserve',
    strict: true,
    noEmit: true,
    types: [],
  },
});

describe('the lint configuration', () => {
  it('finds every planted offence with its replacement, and nothing in the same code where it belongs', async () => {
    const files = { ...Object.fromEntries(offences.map(([file, text]) => [file, `${text}\n`])), ...innocent };
    const report = await inScratchTree({ ...files, 'tsconfig.json': tsconfig }, async (folder) => {
      const run = await runTool(
        'node_modules/oxlint/bin/oxlint',
        ['--type-aware', '-c', path.join(root, 'test/tidy/oxlint.json'), '--format', 'json', '.'],
        { cwd: folder, env: { OXLINT_TSGOLINT_PATH: path.join(root, 'node_modules/.bin/tsgolint') } },
      );
      return reportSchema.parse(JSON.parse(run.stdout));
    });
    const found = (file: string) => report.diagnostics.filter((one) => one.filename === file);
    for (const [file, , rule, names] of offences) {
      const texts = found(file).map((one) => `${one.code} ${one.message} ${one.help ?? ''}`);
      expect(
        texts.filter((text) => text.includes(`(${rule})`) && text.includes(names)),
        `${file}: ${texts.join('; ')}`,
      ).not.toEqual([]);
    }
    for (const file of Object.keys(innocent)) expect(found(file), file).toEqual([]);
    expect(report.number_of_files).toBe(Object.keys(files).length);
  });
});
