/** Histories as files. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** sha256 of every kept history: what makes a changed or a missing one visible. */
export const digestFile = fileURLToPath(new URL('./digests.json', import.meta.url));

/** Where the histories of a lifecycle are. */
export const historyFolder = (stem: string): string => fileURLToPath(new URL(`./${stem}/`, import.meta.url));

/** A history as the engine's own tools write it. */
export type HistoryJson = Readonly<Record<string, unknown>>;

/** Every kept history of a lifecycle, oldest version first. */
export function keptHistories(stem: string): {
  readonly name: string;
  readonly text: string;
  readonly history: HistoryJson;
}[] {
  return readdirSync(historyFolder(stem))
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => {
      const text = readFileSync(path.join(historyFolder(stem), name), 'utf8');
      return { name, text, history: JSON.parse(text) as HistoryJson };
    });
}

/** Everything that somebody who holds the history can read in it: its own text, and its payloads decoded. */
export function readableText(history: unknown): string {
  const texts: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value, Buffer.from(value, 'base64').toString('utf8'));
    else if (typeof value === 'object' && value !== null)
      for (const inner of Object.values(value)) visit(inner);
  };
  visit(history);
  return texts.join('\n');
}

/** What no history may hold: keys, names, places of a tenant, credentials, statements. */
const forbidden: readonly (readonly [string, RegExp])[] = [
  ['an SSH key', /ssh-(ed25519|rsa)|ecdsa-sha2|AAAAC3NzaC1/],
  ['a user name', /dev-user|dev-admin|peer-user|@gpuaas\.local/],
  ['a home', /\/home\/|\/scratch\//],
  ['a token', /eyJ[\w-]+\.[\w-]+\.[\w-]+|Bearer /],
  ['a secret', /agent_secret|password|PRIVATE KEY/],
  ['a statement', /Failed query|insert into|select "/i],
];

/** Names of what a history should not tell. */
export const secretsIn = (history: unknown): string[] => {
  const text = readableText(history);
  return forbidden.filter(([, pattern]) => pattern.test(text)).map(([what]) => what);
};
