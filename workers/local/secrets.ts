import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const secretsSchema = z.strictObject({
  postgres: z.string(),
  gpuaas_owner: z.string(),
  gpuaas_app: z.string(),
  gpuaas_test: z.string(),
});

/** Passwords of one stack's database roles. */
export type DatabaseSecrets = z.infer<typeof secretsSchema>;

/**
 * The database passwords of one stack: made at random once, kept in secrets.json (mode 0600) so that addresses
 * survive a restart.
 */
export function databaseSecrets(stateDir: string): DatabaseSecrets {
  const file = path.join(stateDir, 'secrets.json');
  if (existsSync(file)) return secretsSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  const password = (): string => randomBytes(18).toString('base64url');
  const made: DatabaseSecrets = {
    postgres: password(),
    gpuaas_owner: password(),
    gpuaas_app: password(),
    gpuaas_test: password(),
  };
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return made;
}
