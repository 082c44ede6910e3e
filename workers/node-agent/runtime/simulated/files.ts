import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { unlessMissing } from '../../failure.ts';
import { parseJson } from '../../protocol/verify.ts';

export const isJsonObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

let unique = 0;

/** Replaces a file as a whole: a reader never sees half of it. */
export async function replaceFile(file: string, text: string): Promise<void> {
  unique += 1;
  const next = `${file}.${process.pid}-${unique}.new`;
  await writeFile(next, text);
  await rename(next, file);
}

/** The JSON object in a file; undefined when there is no file or no object in it. */
export async function readObject(file: string): Promise<Record<string, unknown> | undefined> {
  const text = await unlessMissing(readFile(file, 'utf8'), undefined);
  const value = text === undefined ? undefined : parseJson(text);
  return isJsonObject(value) ? value : undefined;
}

/** Names of the files in a folder that end with `.json`, without the ending, by name. */
export async function jsonNames(directory: string): Promise<string[]> {
  const names = await unlessMissing(readdir(directory), []);
  return names.flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : [])).sort();
}

/** The whole numbers of a JSON list. */
export const numbersOf = (value: unknown): number[] =>
  Array.isArray(value) ? value.filter((item): item is number => Number.isInteger(item)) : [];
