import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { inScratchTree, root, runTool } from './tree.ts';

const reportSchema = z.object({
  summary: z.object({
    violations: z.array(z.object({ from: z.string(), to: z.string(), rule: z.object({ name: z.string() }) })),
    ruleSetUsed: z.object({ forbidden: z.array(z.object({ name: z.string() })) }),
  }),
});

/** One import: rule that refuses it (null: allowed), importing file, imported file or package. */
const imports: readonly (readonly [string | null, string, string])[] = [
  ['contracts-import-contracts', 'contracts/a.ts', 'db/client.ts'],
  ['contracts-import-contracts', 'contracts/b.ts', 'contracts/generated/client.ts'],
  ['contracts-import-contracts', 'contracts/nodes/c.api.ts', 'drizzle-orm'],
  ['zod-at-the-edges', 'contracts/nodes/node.guards.ts', 'zod'],
  [null, 'contracts/nodes/node.api.ts', 'zod'],
  [null, 'contracts/nodes/node.lifecycle.ts', 'contracts/ids.ts'],
  [null, 'contracts/uuid5.ts', 'node:crypto'],
  ['codegen-reads-contracts', 'contracts/codegen/main.ts', 'api/route.ts'],
  [null, 'contracts/codegen/other.ts', 'yaml'],
  ['workflows-are-deterministic', 'workflows/nodes/a.ts', 'contracts/nodes/node.events.ts'],
  ['workflows-are-deterministic', 'workflows/nodes/b.ts', 'contracts/uuid5.ts'],
  ['workflows-are-deterministic', 'workflows/nodes/c.ts', 'activities/nodes/node.activities.ts'],
  ['workflows-are-deterministic', 'workflows/nodes/d.ts', 'zod'],
  ['workflows-without-node', 'workflows/nodes/e.ts', 'node:crypto'],
  ['workflow-lib-knows-no-lifecycle', 'workflows/lib/a.ts', 'workflows/nodes/good.ts'],
  [null, 'workflows/nodes/good.ts', 'contracts/nodes/node.lifecycle.ts'],
  [null, 'workflows/nodes/good2.ts', '@temporalio/workflow'],
  ['activities-use-ports', 'activities/nodes/a.ts', 'activities/platform/nats.ts'],
  ['activities-use-ports', 'activities/nodes/b.ts', 'nats'],
  ['activities-use-ports', 'activities/nodes/c.ts', '@temporalio/client'],
  [null, 'activities/nodes/node.activities.ts', 'db/nodes/node.store.ts'],
  ['domains-meet-through-contracts', 'activities/nodes/e.ts', 'db/allocations/allocation.store.ts'],
  [null, 'activities/nodes/good.ts', 'db/allocations/allocation.schema.ts'],
  ['adapters-know-no-product', 'activities/platform/a.ts', 'db/client.ts'],
  [null, 'activities/platform/nats.ts', 'nats'],
  ['adapters-from-composition-roots', 'api/nodes/a.ts', 'activities/platform/nats.ts'],
  ['adapters-from-composition-roots', 'workers/consumers/nodes/x.ts', 'activities/platform/nats.ts'],
  [null, 'workers/main.ts', 'activities/platform/nats.ts'],
  [null, 'workers/relay/main.ts', 'activities/platform/nats.ts'],
  [null, 'api/compose.ts', 'activities/platform/nats.ts'],
  ['db-is-drizzle-only', 'db/nodes/a.ts', 'nats'],
  ['db-is-drizzle-only', 'db/nodes/b.ts', 'api/route.ts'],
  [null, 'db/nodes/node.store.ts', 'drizzle-orm'],
  ['api-starts-and-reads', 'api/nodes/b.ts', 'workflows/nodes/good.ts'],
  ['api-starts-and-reads', 'api/nodes/c.ts', 'activities/nodes/node.activities.ts'],
  ['api-never-moves-a-lifecycle', 'api/allocations/a.ts', 'db/allocations/allocation.store.ts'],
  [null, 'api/allocations/b.ts', 'db/allocations/allocation.views.ts'],
  ['api-roots-build-adapters', 'api/main.ts', 'activities/nodes/node.activities.ts'],
  ['consumers-are-thin', 'workers/reconcilers/a.ts', 'api/nodes/node.routes.ts'],
  ['consumers-are-thin', 'workers/consumers/nodes/b.ts', 'activities/nodes/node.activities.ts'],
  [null, 'workers/reconcilers/good.ts', 'api/nodes/node.commands.ts'],
  ['node-agent-stands-alone', 'workers/node-agent/a.ts', 'zod'],
  ['node-agent-stands-alone', 'workers/node-agent/tasks/b.ts', 'db/client.ts'],
  ['node-agent-stands-alone', 'workers/node-agent/tasks/c.ts', 'contracts/codegen/client.ts'],
  [null, 'workers/node-agent/main.ts', 'contracts/nodes/node.api.ts'],
  [null, 'workers/node-agent/protocol/d.ts', 'contracts/generated/client.ts'],
  ['stand-ins-import-nothing-of-ours', 'workers/local/issuer/a.ts', 'contracts/ids.ts'],
  ['stand-ins-import-nothing-of-ours', 'workers/local/stripe/b.ts', 'workers/local/issuer/good.ts'],
  [null, 'workers/local/issuer/good.ts', 'workers/local/process.ts'],
  ['domains-meet-through-contracts', 'activities/nodes/d.ts', 'activities/allocations/x.ts'],
  ['domains-meet-through-contracts', 'workflows/nodes/f.ts', 'workflows/allocations/x.ts'],
  ['domains-meet-through-contracts', 'api/nodes/d.ts', 'api/allocations/x.ts'],
  ['domains-meet-through-contracts', 'api/nodes/e.ts', 'db/allocations/allocation.views.ts'],
  [null, 'api/nodes/good.ts', 'db/ops/operation.views.ts'],
  ['domains-meet-through-contracts', 'db/nodes/c.ts', 'db/allocations/allocation.store.ts'],
  [null, 'db/nodes/node.schema.ts', 'db/allocations/allocation.schema.ts'],
  [null, 'db/ops/drift.views.ts', 'db/allocations/allocation.views.ts'],
  ['no-cycles', 'api/ring.ts', 'api/ring2.ts'],
  [null, 'api/ring2.ts', 'api/ring.ts'], // a cycle is reported once
  ['no-test-code-in-the-product', 'api/nodes/f.ts', 'test/harness/api.ts'],
  ['no-development-tools-at-run-time', 'api/nodes/g.ts', 'vitest'],
  ['no-development-tools-at-run-time', 'workers/main2.ts', 'vitest'],
  [null, 'test/nodes/x.test.ts', 'vitest'],
  ['no-unresolved', 'api/nodes/h.ts', './nowhere.ts'],
];

const packages = ['zod', 'yaml', 'drizzle-orm', 'nats', '@temporalio/client', '@temporalio/workflow'];

function specifier(from: string, to: string): string {
  if (!/^[a-z]+\/.*\.ts$/.test(to)) return to;
  const relative = path.relative(path.dirname(from), to);
  return relative.startsWith('.') ? relative : `./${relative}`;
}

function plantedTree(): Record<string, string> {
  const files: Record<string, string> = {};
  for (const [, , to] of imports) if (/^[a-z]+\/.*\.ts$/.test(to)) files[to] = 'export const x = 1;\n';
  for (const [, from, to] of imports) {
    expect(files[from]?.includes('import') ?? false, `${from} appears twice`).toBe(false);
    files[from] = `import * as y from '${specifier(from, to)}';\nexport const x = y;\n`;
  }
  for (const name of [...packages, 'vitest']) {
    files[`node_modules/${name}/package.json`] = JSON.stringify({ name, version: '1.0.0', main: 'index.js' });
    files[`node_modules/${name}/index.js`] = 'module.exports = {};\n';
  }
  const versions = Object.fromEntries(packages.map((name) => [name, '1.0.0']));
  files['package.json'] = JSON.stringify({
    name: 'planted',
    dependencies: versions,
    devDependencies: { vitest: '1.0.0' },
  });
  return files;
}

describe('the import rules', () => {
  it('refuse every planted import by name, let the allowed ones pass, and leave no rule unproven', async () => {
    const folders = ['contracts', 'workflows', 'activities', 'api', 'workers', 'db', 'test'];
    const { summary } = await inScratchTree(plantedTree(), async (folder) => {
      const config = path.join(root, 'test/tidy/boundaries.cjs');
      const script = 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs';
      const run = await runTool(script, ['--config', config, '--output-type', 'json', ...folders], {
        cwd: folder,
      });
      return reportSchema.parse(JSON.parse(run.stdout));
    });
    for (const [rule, from, to] of imports) {
      const names = summary.violations.filter((one) => one.from === from).map((one) => one.rule.name);
      if (rule === null) expect(names, `${from} -> ${to}`).toEqual([]);
      else expect(names, `${from} -> ${to}`).toContain(rule);
    }
    const proven = new Set(imports.map(([rule]) => rule));
    expect(summary.ruleSetUsed.forbidden.map(({ name }) => name).filter((name) => !proven.has(name))).toEqual(
      [],
    );
  });
});
