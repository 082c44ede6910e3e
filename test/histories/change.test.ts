/** A change of the workflow that running allocations cannot bear is refused by replay, and by the test run as CI starts it. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { DeterminismViolationError } from '@temporalio/workflow';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changedCheckout, releasedFirst, releasedFirstPatched, type ChangedCheckout } from './changes.ts';
import { keptHistories } from './history.ts';
import { quietRuntime, replay } from './replayer.ts';

const bundleMs = 60_000;
const runMs = 240_000;
const kept = keptHistories('allocation');
const checkouts: ChangedCheckout[] = [];
let unpatched: { readonly root: string; readonly bundle: WorkflowBundle };
let patched: typeof unpatched;

beforeAll(async () => {
  quietRuntime();
  [unpatched, patched] = await Promise.all([changed(releasedFirst), changed(releasedFirstPatched)]);
}, bundleMs);
afterAll(() => {
  for (const checkout of checkouts) checkout.remove();
});

async function changed(edits: typeof releasedFirst): Promise<typeof unpatched> {
  const checkout = changedCheckout(edits);
  checkouts.push(checkout);
  const { root } = checkout;
  const workflowsPath = path.join(root, 'workflows/index.ts');
  return { root, bundle: await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') }) };
}

/** Whether the step that the change moves is part of the history. */
const releases = (name: string): boolean => /^(happy|cancelled|resumed|release-|after-continuing)/.test(name);

async function verdicts(bundle: WorkflowBundle): Promise<Record<string, string>> {
  const found: [string, string][] = [];
  for (const { name, history } of kept) {
    const outcome = await replay(bundle, history).then(
      () => 'replays',
      (error: unknown) => (error instanceof DeterminismViolationError ? 'violation' : String(error)),
    );
    found.push([name, outcome]);
  }
  return Object.fromEntries(found);
}

/** `npm test -- histories/replay` in the changed checkout. */
async function testRun(root: string): Promise<{ readonly code: number; readonly output: string }> {
  const args = ['workers/local/bootstrap.mjs', 'test/run.ts', 'histories/replay'];
  // This very run's marks must not steer the other one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env });
    return { code: 0, output: stdout };
  } catch (error) {
    const { code, stdout } = error as { code?: number; stdout?: string };
    return { code: code ?? -1, output: stdout ?? String(error) };
  }
}

describe('two steps in another order', () => {
  it('are refused by every history that has them', { timeout: bundleMs }, async () => {
    const expected = kept.map(({ name }) => [name, releases(name) ? 'violation' : 'replays']);
    expect(await verdicts(unpatched.bundle)).toEqual(Object.fromEntries(expected));
  });

  it('are accepted with a patch', { timeout: bundleMs }, async () => {
    const expected = kept.map(({ name }) => [name, 'replays']);
    expect(await verdicts(patched.bundle)).toEqual(Object.fromEntries(expected));
  });

  it('make the test run fail', { timeout: runMs }, async () => {
    const { code, output } = await testRun(unpatched.root);
    const red = kept.filter(({ name }) => releases(name)).map(({ name }) => `'${name}' replays`);
    for (const title of red)
      expect(output).toContain(`failed: test/histories/replay.test.ts > kept histories > ${title}: `);
    expect([code, output]).toEqual([1, expect.stringContaining(` passed, ${red.length} failed, 0 skipped`)]);
  });

  it('and with the patch let it pass', { timeout: runMs }, async () => {
    const { code, output } = await testRun(patched.root);
    expect([code, output]).toEqual([0, expect.stringMatching(/\d+ passed, 0 failed, 0 skipped/)]);
  });
});
