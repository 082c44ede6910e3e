/**
 * `npm run golden`: writes db/schema.golden.sql from a new database with all migrations, and notes the digest of each
 * migration that has none. Tests only compare; a digest that stands is never replaced: that migration was released.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schemaText } from '../../db/golden.ts';
import { migrate } from '../../db/migrate.ts';
import { startStack } from '../../workers/local/stack.ts';
import { digestFile, keptDigests, migrationDigests } from './digests.ts';

const goldenFile = fileURLToPath(new URL('../../db/schema.golden.sql', import.meta.url));

const stack = await startStack({ name: 'golden', ports: 'free', ephemeral: true, parts: ['postgres'] });
try {
  const ownerUrl = stack.env['DATABASE_OWNER_URL'] ?? '';
  await migrate(ownerUrl);
  writeFileSync(goldenFile, await schemaText(ownerUrl));
  writeFileSync(digestFile, `${JSON.stringify({ ...migrationDigests(), ...keptDigests() }, undefined, 2)}\n`);
  process.stdout.write(`${goldenFile}\n${digestFile}\n`);
} finally {
  await stack.stop();
}
