/** Replay: every kept history runs through the current workflows; a change that it cannot bear is found out. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DeterminismViolationError } from '@temporalio/workflow';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildWorkflowBundle } from '../../workers/bundle.ts';
import { digestFile, keptHistories, readableText, secretsIn } from './history.ts';
import { scenarios } from './scenarios.ts';

const kept = keptHistories();
const happy = kept.find(({ name }) => name === 'happy.v1.json');
const bundleMs = 60_000;
let current: WorkflowBundle;

beforeAll(async () => {
  const logging = { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } as const;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging },
  });
  current = await buildWorkflowBundle();
}, bundleMs);

const replay = (workflowBundle: WorkflowBundle, history: unknown): Promise<void> =>
  Worker.runReplayHistory({ workflowBundle }, history, 'allocation-replayed');

const changed = (file: string): Promise<WorkflowBundle> =>
  bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL(`./broken/${file}`, import.meta.url)),
    logger: new DefaultLogger('ERROR'),
  });

describe('kept histories', () => {
  it('are there for every scenario', () => {
    const names = new Set(kept.map(({ name }) => name.replace(/\.v\d+\.json$/, '')));
    expect([...names].sort()).toEqual(Object.keys(scenarios).sort());
  });

  it('are never changed and never go: a new recording gets a new name', () => {
    const digests = JSON.parse(readFileSync(digestFile, 'utf8')) as unknown;
    const found = kept.map(({ name, text }) => [name, createHash('sha256').update(text).digest('hex')]);
    expect(Object.fromEntries(found)).toEqual(digests);
  });

  it.each(kept)('$name replays', async ({ history }) => {
    await replay(current, history);
  });

  it.each(kept)('$name holds no secret', ({ history }) => {
    expect(secretsIn(history)).toEqual([]);
  });
});

describe('the check for secrets', () => {
  it('reads what payloads hold', () => {
    const data = Buffer.from(JSON.stringify({ username: 'dev-user' })).toString('base64');
    expect(readableText({ payloads: [{ data }] })).toContain('dev-user');
    expect(secretsIn({ payloads: [{ data }] })).toEqual(['a user name']);
  });
});

describe('a changed workflow', () => {
  it('is refused without a patch', { timeout: bundleMs }, async () => {
    const bundle = await changed('unpatched.ts');
    await expect(replay(bundle, happy?.history)).rejects.toBeInstanceOf(DeterminismViolationError);
  });

  it('is accepted with one', { timeout: bundleMs }, async () => {
    await replay(await changed('patched.ts'), happy?.history);
  });
});
