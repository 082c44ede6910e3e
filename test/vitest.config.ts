import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Areas whose files share one running stack (test/harness/stack.ts): a database of its own per file, the rest in common.
 * Files of the other areas need no servers, or start their own because they break or reconfigure them.
 */
const sharedStack: readonly string[] = ['db'];
const areas = readdirSync(fileURLToPath(new URL('.', import.meta.url)), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

const filesOf = (area: string): string => `test/${area}/**/*.test.ts`;
const common = {
  root,
  pool: 'forks',
  /** Every file in a process of its own: environment, timers and servers cannot leak into another. */
  isolate: true,
  testTimeout: 120_000,
  hookTimeout: 120_000,
  teardownTimeout: 30_000,
} as const;

export default defineConfig({
  cacheDir: `${root}/node_modules/.vite`,
  test: {
    // A file starts servers: more than two at once on two cores only make each other time out.
    maxWorkers: 2,
    // What the report tells of a test that passed; most start or kill servers.
    slowTestThreshold: 10_000,
    projects: [
      {
        cacheDir: `${root}/node_modules/.vite`,
        test: {
          ...common,
          name: 'own',
          include: areas.filter((area) => !sharedStack.includes(area)).map(filesOf),
        },
      },
      {
        cacheDir: `${root}/node_modules/.vite`,
        test: {
          ...common,
          name: 'shared',
          include: sharedStack.map(filesOf),
          globalSetup: ['test/harness/shared-stack.ts'],
        },
      },
    ],
  },
});
