import type { TestProject } from 'vitest/node';
import { migrate } from '../../db/migrate.ts';
import { startStack } from '../../workers/local/stack.ts';
import { queryAs, templateName, withDatabase } from './database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Addresses of the run's stack: DATABASE_URL, TEMPORAL_ADDRESS, NATS_URL, REDIS_URL and their companions. */
    readonly stack: Readonly<Record<string, string>>;
  }
}

/** Starts the stack that all files of a run share, with one migrated database to copy from. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startStack({ name: 'test', ports: 'free', ephemeral: true, testSettings: true });
  try {
    const ownerUrl = stack.env['DATABASE_OWNER_URL'] ?? '';
    await queryAs(ownerUrl, `create database ${templateName}`);
    await migrate(withDatabase(ownerUrl, templateName));
    project.provide('stack', { ...stack.env });
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return () => stack.stop();
}
