import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isErrorCode } from '../../contracts/errors.ts';

/** Folders whose errors reach a client, a workflow or a dead letter. The node-agent's own codes are free by contract. */
const guarded = ['api', 'activities', 'workflows', 'workers', 'db'];
const excluded = ['workers/local/', 'workers/node-agent/'];
/** The one place that maps an error to an answer. */
const mapper = 'api/middleware/';

export interface Finding {
  readonly line: number;
  readonly why: string;
}

const lineOf = (text: string, index: number): number => text.slice(0, index).split('\n').length;

interface Rule {
  readonly pattern: RegExp;
  readonly applies: (path: string) => boolean;
  /** undefined when the match is fine. */
  readonly why: (match: RegExpExecArray) => string | undefined;
}

const notInCatalogue = (match: RegExpExecArray): string | undefined =>
  isErrorCode(match[1]) ? undefined : `'${match[1]}' is no code of the catalogue`;
const always = (): boolean => true;
const inApi = (path: string): boolean => path.startsWith('api/') && !path.startsWith(mapper);

const rules: readonly Rule[] = [
  { pattern: /new CodedError\(\s*['"`]([^'"`]*)['"`]/g, applies: always, why: notInCatalogue },
  {
    pattern: /ApplicationFailure\.(?:create|fromError)\([^;]*?\btype:\s*['"`]([^'"`]*)['"`]/g,
    applies: always,
    why: notInCatalogue,
  },
  {
    pattern: /ApplicationFailure\.(?:retryable|nonRetryable)\(\s*[^,;]*,\s*['"`]([^'"`]*)['"`]/g,
    applies: always,
    why: notInCatalogue,
  },
  {
    pattern: /(?:\.status|\.sendStatus|\.writeHead)\(\s*[45]\d\d\b/g,
    applies: inApi,
    why: () => 'an error status is written by hand; throw a CodedError',
  },
  {
    pattern: /\bstatus(?:Code)?\s*[:=]\s*[45]\d\d\b/g,
    applies: inApi,
    why: () => 'an error status is written by hand; throw a CodedError',
  },
  {
    pattern: /class \w+ extends (?:\w*Error)\b/g,
    applies: inApi,
    why: () => 'an error class of its own; throw a CodedError',
  },
  {
    pattern: /\{[^{}]*\bcode:[^{}]*\bcorrelation_id:[^{}]*\}/g,
    applies: inApi,
    why: () => 'an error envelope is built by hand; throw a CodedError',
  },
];

/** What in one source file makes an error that the catalogue does not know or the mapper does not make. */
export function findings(path: string, text: string): readonly Finding[] {
  return rules.flatMap(({ pattern, applies, why }) =>
    applies(path)
      ? [...text.matchAll(pattern)].flatMap((match) => {
          const reason = why(match);
          return reason === undefined ? [] : [{ line: lineOf(text, match.index), why: reason }];
        })
      : [],
  );
}

async function sources(root: string): Promise<readonly string[]> {
  const lists = await Promise.all(
    guarded.map(async (folder) => {
      const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
      return names.map((name) => `${folder}/${name}`);
    }),
  );
  return lists
    .flat()
    .filter((path) => path.endsWith('.ts') && !excluded.some((prefix) => path.startsWith(prefix)))
    .sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const paths = await sources(root);
  let count = 0;
  for (const path of paths) {
    for (const { line, why } of findings(path, await readFile(join(root, path), 'utf8'))) {
      count += 1;
      console.error(`${path}:${line}: ${why}`);
    }
  }
  console.log(`${paths.length} files, ${count} findings`);
  process.exitCode = count === 0 ? 0 : 1;
}
