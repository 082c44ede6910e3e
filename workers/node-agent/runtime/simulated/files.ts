import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { systemCode } from '../../failure.ts';
import { parseJson } from '../../protocol/verify.ts';

// The files of a simulated node are tiny and many: without the thread pool a read takes microseconds, and a process that
// runs a fleet spends them best this way.

export const isJsonObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What `read` returns, or `fallback` when there is no such file. */
function ifThere<T, F>(read: () => T, fallback: F): T | F {
  try {
    return read();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return fallback;
    throw error;
  }
}

export const readText = (file: string): string | undefined =>
  ifThere(() => readFileSync(file, 'utf8'), undefined);

/** Replaces a file as a whole: a reader never sees half of it. */
export function replaceFile(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Bytes that a JSON object is filled up to, with spaces. */
const RECORD_BYTES = 256;

/**
 * Writes a JSON object. One of the usual size goes over the old one with a single write: a file system flushes a file
 * that is renamed over another, and this is done often.
 */
export function writeObject(file: string, value: object): void {
  const text = `${JSON.stringify(value).padEnd(RECORD_BYTES - 1)}\n`;
  const length = ifThere(() => statSync(file).size, undefined);
  if (length !== RECORD_BYTES || Buffer.byteLength(text) !== RECORD_BYTES) return replaceFile(file, text);
  const handle = openSync(file, 'r+');
  try {
    writeSync(handle, text, 0);
  } finally {
    closeSync(handle);
  }
}

/** The JSON object in a file; undefined when there is no file or no object in it. */
export function readObject(file: string): Record<string, unknown> | undefined {
  const text = readText(file);
  const value = text === undefined ? undefined : parseJson(text);
  return isJsonObject(value) ? value : undefined;
}

/** Names in a folder; none when there is no folder. */
export const namesIn = (directory: string): string[] => ifThere(() => readdirSync(directory), []);

/** Names of the files in a folder that end with `.json`, without the ending, by name. */
export const jsonNames = (directory: string): string[] =>
  namesIn(directory)
    .flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []))
    .sort();

/** The whole numbers of a JSON list. */
export const numbersOf = (value: unknown): number[] =>
  Array.isArray(value) ? value.filter((item): item is number => Number.isInteger(item)) : [];
