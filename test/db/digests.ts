/** Digests of the migrations, so that one which was released is never edited. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../tidy/tree.ts';

export const digestFile = path.join(root, 'test/golden/migrations.json');
const folder = path.join(root, 'db/migrations');

/** SHA-256 of each migration, in hexadecimal, by its file name. */
export const migrationDigests = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((file) => file.endsWith('.sql'))
      .sort()
      .map((file) => [
        file,
        createHash('sha256')
          .update(readFileSync(path.join(folder, file)))
          .digest('hex'),
      ]),
  );

/** The digests that were noted when each migration was new. */
export const keptDigests = (): Readonly<Record<string, string>> =>
  JSON.parse(readFileSync(digestFile, 'utf8')) as Readonly<Record<string, string>>;
