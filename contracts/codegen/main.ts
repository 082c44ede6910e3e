import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { asyncApiDocument } from './asyncapi.ts';
import { clientTypes } from './client.ts';
import { indexPage } from './index-page.ts';
import type { JsonObject } from './json.ts';
import { openApiDocument } from './openapi.ts';

/** `contracts/generated`. */
export const generatedFolder = fileURLToPath(new URL('../generated', import.meta.url));

const yamlBanner = '# Generated from the contract by `npm run codegen`; do not edit.\n';

const toYaml = (document: JsonObject): string =>
  yamlBanner + stringify(document, { lineWidth: 0, aliasDuplicateObjects: false, singleQuote: true });

/** Every generated file by name, with its text. Reads no clock and no environment. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const openApi = openApiDocument();
  return new Map([
    ['openapi.yaml', toYaml(openApi)],
    ['asyncapi.yaml', toYaml(asyncApiDocument())],
    ['client.ts', clientTypes(openApi)],
    ['ENDPOINTS.md', indexPage()],
  ]);
}

const textOf = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/**
 * Compares a folder with the contract.
 * @returns one sentence per file that differs, is missing or has no source; empty when there is no drift.
 */
export async function drift(folder: string = generatedFolder): Promise<readonly string[]> {
  const files = generatedFiles();
  const found: string[] = [];
  for (const [name, text] of files) {
    const present = await textOf(join(folder, name));
    if (present === undefined) found.push(`${name} is missing`);
    else if (present !== text) found.push(`${name} differs from the contract`);
  }
  const strangers = (await readdir(folder).catch(() => [])).filter((name) => !files.has(name));
  return [...found, ...strangers.map((name) => `${name} is not generated from anything`)];
}

/** Writes every generated file; each appears whole or not at all. */
export async function generate(folder: string = generatedFolder): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of generatedFiles()) {
    const path = join(folder, name);
    if ((await textOf(path)) === text) continue;
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    const found = await drift();
    for (const sentence of found) console.error(`contracts/generated/${sentence}; run \`npm run codegen\``);
    process.exitCode = found.length === 0 ? 0 : 1;
  } else {
    await generate();
  }
}
