import { beforeAll, describe, expect, it } from 'vitest';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { buildWorkflowBundle } from '../../workers/bundle.ts';

/** Modules of the bundle, by the paths that webpack writes before each. */
const modulesOf = (code: string): readonly string[] =>
  [...code.matchAll(/^\/\*\*\*\/ "([^"]+)"/gm)].flatMap((match) => match[1] ?? []);

describe('the workflow bundle', () => {
  let code = '';
  beforeAll(async () => {
    ({ code } = await buildWorkflowBundle());
  });

  it('contains the workflows', () => {
    for (const { workflowType, domain, stem } of lifecycles) {
      expect(code).toContain(`async function ${workflowType}(`);
      expect(modulesOf(code).join('\n')).toContain(`workflows/${domain}/${stem}.workflow.ts`);
    }
  });

  it.each(['zod', 'pg', 'drizzle-orm', 'nats', 'ioredis', '@temporalio/client', '@temporalio/activity'])(
    'contains nothing of %s',
    (name) => {
      expect(modulesOf(code).filter((module) => module.includes(`node_modules/${name}/`))).toEqual([]);
    },
  );

  it('contains of ours what workflows may import, and nothing else', () => {
    const ours = modulesOf(code).filter((module) => !module.includes('node_modules'));
    expect(ours.length).toBeGreaterThan(3);
    const allowed =
      /\/(workflows\/.*|contracts\/([a-z]+\/[a-z-]+\.(lifecycle|messages|guards|activities|waits|tasks)|ids|errors|queues|trace))\.ts$/;
    expect(ours.filter((module) => module.endsWith('.ts') && !allowed.test(module))).toEqual([]);
  });
});
