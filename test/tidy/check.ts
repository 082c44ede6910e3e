/**
 * `npm run check`: every gate that needs no running stack, two at a time; all run even when one fails.
 * `npm run check -- lint types` runs only those named. `npm run format` writes what the format gate checks.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const gatesAtOnce = 2;

/** Everything that prettier keeps in shape; generated files have their generator's. */
const formatted = [
  '.',
  '!contracts/generated/**',
  '!db/migrations/meta/**',
  '!package-lock.json',
  '!**/*.golden.*',
  '!test/golden/**',
  '!test/histories/**/*.json',
];
const folders = ['contracts', 'workflows', 'activities', 'api', 'workers', 'db', 'test'];
/** Scripts in test/gates that a gate calls, and are none themselves. */
const helperScripts: readonly string[] = ['oasdiff.sh'];

interface Gate {
  readonly name: string;
  /** Script of a package, relative to node_modules, or a shell script of ours. */
  readonly script: string;
  readonly args: readonly string[];
}

interface Verdict {
  readonly name: string;
  readonly code: number;
  readonly output: string;
  readonly seconds: string;
}

const prettier = (mode: '--check' | '--write'): Gate => ({
  name: 'format',
  script: 'node_modules/prettier/bin/prettier.cjs',
  args: [mode, '--log-level=warn', ...formatted],
});

const contractGates: readonly Gate[] = readdirSync(path.join(root, 'test/gates'))
  .filter((file) => file.endsWith('.sh') && !helperScripts.includes(file))
  .map((file) => ({ name: file.replace(/\.sh$/, ''), script: `test/gates/${file}`, args: [] }));

const gates: readonly Gate[] = [
  { name: 'types', script: 'node_modules/typescript/bin/tsc', args: ['-p', '.', '--noEmit'] },
  prettier('--check'),
  {
    name: 'lint',
    script: 'node_modules/oxlint/bin/oxlint',
    args: ['--type-aware', '--deny-warnings', '-c', 'test/tidy/oxlint.json', ...folders],
  },
  {
    name: 'boundaries',
    script: 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
    args: ['--config', 'test/tidy/boundaries.cjs', '--output-type', 'err', ...folders],
  },
  {
    name: 'dead-code',
    script: 'node_modules/knip/bin/knip.js',
    args: ['--no-progress', '--no-config-hints'],
  },
  {
    name: 'unit-tests',
    script: 'node_modules/vitest/vitest.mjs',
    args: ['run', '--config', 'test/vitest.config.ts', '--project', 'own', 'test/unit/'],
  },
  ...contractGates,
];

function run({ name, script, args }: Gate): Promise<Verdict> {
  const startedAt = performance.now();
  const [command, first] = script.endsWith('.sh') ? ['bash', [script]] : [process.execPath, [script]];
  // The tools find prettier's and knip's keys by the folder they start in.
  const child = spawn(command, [...first, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    const settle = (code: number, extra = ''): void => {
      const output = Buffer.concat(chunks).toString('utf8').trim() + extra;
      resolve({ name, code, output, seconds: ((performance.now() - startedAt) / 1000).toFixed(1) });
    };
    child.once('error', (error) => settle(1, error.message));
    child.once('close', (code, signal) => settle(code ?? 1, signal === null ? '' : `\nended by ${signal}`));
  });
}

function report({ name, code, output, seconds }: Verdict): void {
  process.stdout.write(`${code === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(26)} ${seconds} s\n`);
  if (code !== 0) process.stdout.write(`${output.replaceAll(/^/gm, '     ')}\n`);
}

async function runAll(chosen: readonly Gate[]): Promise<number> {
  const waiting = [...chosen];
  let failed = 0;
  const lane = async (): Promise<void> => {
    for (let gate = waiting.shift(); gate !== undefined; gate = waiting.shift()) {
      const verdict = await run(gate);
      report(verdict);
      if (verdict.code !== 0) failed += 1;
    }
  };
  await Promise.all(Array.from({ length: gatesAtOnce }, lane));
  return failed;
}

const names = process.argv.slice(2);
if (names[0] === '--format') {
  const verdict = await run(prettier('--write'));
  report(verdict);
  process.exitCode = verdict.code;
} else {
  const unknown = names.filter((name) => !gates.some((gate) => gate.name === name));
  if (unknown.length > 0) {
    process.stderr.write(
      `no gate ${unknown.join(', ')}; there are ${gates.map(({ name }) => name).join(', ')}\n`,
    );
    process.exit(2);
  }
  const chosen = names.length === 0 ? gates : gates.filter((gate) => names.includes(gate.name));
  const failed = await runAll(chosen);
  process.stdout.write(`${chosen.length - failed} of ${chosen.length} gates passed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}
