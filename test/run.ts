/**
 * `npm test [-- <area or pattern> …]`: every test of the product, or those whose path contains a pattern. Ends with the
 * line `N passed, N failed, N skipped` and fails when a test failed, when none ran, or when one was skipped that
 * test/allowed-skips.json does not explain.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installSystemPackages } from '../workers/local/system-packages.ts';
import { allowedSkipsSchema, judge, reportSchema, type Verdict } from './results.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(path.join(tmpdir(), 'gpuaas-test-'));
const reportFile = path.join(scratch, 'report.json');

/** An area such as `api` means its folder, not every path with these letters; anything else is vitest's pattern. */
const filterOf = (word: string): string => (/^[a-z-]+$/.test(word) ? `test/${word}/` : word);

/** Runs vitest; its output streams through. Resolves with its exit code. */
function runVitest(words: readonly string[]): Promise<number> {
  const flags = words.filter((word) => word.startsWith('-'));
  const filters = words.filter((word) => !word.startsWith('-')).map(filterOf);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const args = ['run', '--config', 'test/vitest.config.ts', ...reporters, ...flags, ...filters];
  const child = spawn(process.execPath, [path.join(root, 'node_modules/vitest/vitest.mjs'), ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  // vitest stops its servers on these; this process waits for that. A terminal sends Ctrl-C to both already.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 130));
  });
}

const read = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));

function verdictOf(exitCode: number): Verdict {
  const allowed = allowedSkipsSchema.parse(read(path.join(root, 'test/allowed-skips.json')));
  try {
    return judge(reportSchema.parse(read(reportFile)), allowed, { root, exitCode });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { passed: 0, failed: 0, skipped: 0, complaints: [`vitest left no report: ${reason}`] };
  }
}

try {
  await installSystemPackages((line) => void process.stdout.write(`${line}\n`));
  const verdict = verdictOf(await runVitest(process.argv.slice(2)));
  for (const complaint of verdict.complaints) process.stdout.write(`${complaint}\n`);
  process.stdout.write(`${verdict.passed} passed, ${verdict.failed} failed, ${verdict.skipped} skipped\n`);
  process.exitCode = verdict.complaints.length === 0 ? 0 : 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
