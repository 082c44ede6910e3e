/** Replay: every kept history runs through the current workflows. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { WorkflowBundle } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildWorkflowBundle } from '../../workers/bundle.ts';
import { digestFile, keptHistories, readableText, secretsIn } from './history.ts';
import { quietRuntime, replay } from './replayer.ts';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { continuedReplayScenarios, replayScenarios } from './dlq-replay.scenarios.ts';
import { continuedScenarios, scenarios } from './scenarios.ts';

const wanted: Readonly<Record<string, object>> = {
  allocation: { ...scenarios, ...continuedScenarios },
  'dlq-replay': { ...replayScenarios, ...continuedReplayScenarios },
};
const kept = lifecycles.flatMap(({ stem }) => keptHistories(stem));
const bundleMs = 60_000;
let current: WorkflowBundle;

beforeAll(async () => {
  quietRuntime();
  current = await buildWorkflowBundle();
}, bundleMs);

describe('kept histories', () => {
  it.each(lifecycles)('of $stem are there for every scenario', ({ stem }) => {
    const names = new Set(keptHistories(stem).map(({ name }) => name.replace(/\.v\d+\.json$/, '')));
    expect([...names].sort()).toEqual(Object.keys(wanted[stem] ?? {}).sort());
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
