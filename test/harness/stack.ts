import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type {} from './shared-stack.ts';
import { queryAs, templateName, withDatabase } from './database.ts';

/**
 * The value that the run's stack gives a variable, such as TEMPORAL_ADDRESS.
 * @throws Error when this file's area does not have the shared stack.
 */
export function stackEnv(name: string): string {
  const value = inject('stack')?.[name];
  if (value === undefined)
    throw new Error(`${name} is not given: is this area in sharedStack of vitest.config.ts?`);
  return value;
}

/** A database of one test file: migrated, not seeded, nobody else's. Addresses per role. */
export interface TestDatabase {
  readonly name: string;
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly testUrl: string;
  /** Cuts whoever is still connected and deletes it. */
  drop(): Promise<void>;
}

/** Copies the template: some 50 ms, where migrating takes a second. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const owner = stackEnv('DATABASE_OWNER_URL');
  const name = `gpuaas_${randomBytes(6).toString('hex')}`;
  await queryAs(owner, `create database ${name} template ${templateName} strategy file_copy`);
  return {
    name,
    ownerUrl: withDatabase(owner, name),
    appUrl: withDatabase(stackEnv('DATABASE_URL'), name),
    testUrl: withDatabase(stackEnv('DATABASE_TEST_URL'), name),
    drop: async () => {
      await queryAs(owner, `drop database if exists ${name} with (force)`);
    },
  };
}
