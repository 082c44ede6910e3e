import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One file, by its path from the root. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The TypeScript of folders, in order of their paths. A folder that is not there has none. */
export async function readSources(root: string, folders: readonly string[]): Promise<SourceFile[]> {
  const lists = await Promise.all(
    folders.map(async (folder) => {
      const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
      return names.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`);
    }),
  );
  return Promise.all(
    lists
      .flat()
      .sort()
      .map(async (path) => ({ path, text: await readFile(join(root, path), 'utf8') })),
  );
}

/** The text without comments, its lines kept. */
export const withoutComments = (text: string): string =>
  text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');

/** Prints findings and sets the exit code of a gate. */
export function conclude(looked: string, findings: readonly string[]): void {
  for (const finding of findings) console.error(finding);
  console.log(`${looked}, ${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}
