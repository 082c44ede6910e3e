/** `npm run golden`: writes db/schema.golden.sql from a new database with all migrations. Tests only compare. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schemaText } from '../../db/golden.ts';
import { migrate } from '../../db/migrate.ts';
import { startStack } from '../../workers/local/stack.ts';

const goldenFile = fileURLToPath(new URL('../../db/schema.golden.sql', import.meta.url));

const stack = await startStack({ name: 'golden', ports: 'free', ephemeral: true, parts: ['postgres'] });
try {
  const ownerUrl = stack.env['DATABASE_OWNER_URL'] ?? '';
  await migrate(ownerUrl);
  writeFileSync(goldenFile, await schemaText(ownerUrl));
  process.stdout.write(`${goldenFile}\n`);
} finally {
  await stack.stop();
}
