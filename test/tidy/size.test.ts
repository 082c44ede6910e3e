import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { codeFolders, root, runTool } from './tree.ts';

const exceptionsFile = 'test/tidy/size-exceptions.json';
/** A file or a function that is too long: why it stays so, and its length in lines, which may only go down. */
const exceptionsSchema = z.array(
  z.strictObject({ place: z.string(), lines: z.int(), reason: z.string().min(20) }),
);
type Exceptions = z.infer<typeof exceptionsSchema>;

const reportSchema = z.object({
  diagnostics: z.array(
    z.object({
      message: z.string(),
      filename: z.string(),
      labels: z.array(z.object({ span: z.object({ line: z.int() }) })).min(1),
    }),
  ),
});

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** What is too long: `file`, or `file: function`, with its lines. */
async function oversized(): Promise<ReadonlyMap<string, number>> {
  const args = [
    '-c',
    'test/tidy/size.json',
    '--format',
    'json',
    '--ignore-pattern',
    'contracts/generated/**',
  ];
  const run = await runTool('node_modules/oxlint/bin/oxlint', [...args, ...codeFolders], { cwd: root });
  const { diagnostics } = reportSchema.parse(JSON.parse(run.stdout));
  const found = new Map<string, number>();
  for (const { message, filename, labels } of diagnostics) {
    const lines = Number(/\((\d+)\)/.exec(message)?.[1]);
    const line = labels[0]?.span.line ?? 0;
    const text = read(filename).split('\n')[line - 1] ?? '';
    // The callback of a describe holds tests, as a file holds functions.
    const opening = read(filename)
      .split('\n')
      .slice(Math.max(0, line - 4), line)
      .join(' ');
    if (/\bdescribe\b(?!.*\b(it|beforeAll|afterAll|beforeEach|afterEach)\()/.test(opening)) continue;
    const name = /function `([^`]+)`/.exec(message)?.[1] ?? text.trim();
    found.set(message.startsWith('File') ? filename : `${filename}: ${name}`, lines);
  }
  return found;
}

/** The list as the version before had it; empty when there is none. */
function exceptionsBefore(): Exceptions {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const changed = git('status', '--porcelain', '--', exceptionsFile).trim() !== '';
    return exceptionsSchema.parse(
      JSON.parse(git('show', `${changed ? 'HEAD' : 'HEAD~1'}:${exceptionsFile}`)),
    );
  } catch {
    return exceptions;
  }
}

const exceptions = exceptionsSchema.parse(JSON.parse(read(exceptionsFile)));

describe('size', () => {
  it('is at most 70 lines a function and 400 a file, but for the exceptions, each at its exact length', async () => {
    const found = Object.fromEntries(await oversized());
    expect(found).toEqual(Object.fromEntries(exceptions.map(({ place, lines }) => [place, lines])));
  });

  it('has a list of exceptions that only shrinks', () => {
    const before = new Map(exceptionsBefore().map(({ place, lines }) => [place, lines]));
    expect(exceptions.filter(({ place, lines }) => lines > (before.get(place) ?? 0))).toEqual([]);
  });
});
