/**
 * Records the histories that replay is tested with: `node --import tsx test/histories/record.ts [scenario…]`. A file that
 * is there is never written again: a new recording gets the next version.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { allocationWorkflowId, asId, dlqReplayWorkflowId } from '../../contracts/ids.ts';
import { suggestAfterEvents } from '../allocations/continued.ts';
import { startLab, until, type Lab, type LabOptions } from '../harness/lab.ts';
import { digestFile, historyFolder, secretsIn, type HistoryJson } from './history.ts';
import { continuedReplayScenarios, replayScenarios } from './dlq-replay.scenarios.ts';
import { continuedScenarios, scenarios, type Scenario } from './scenarios.ts';

const workflowIds = {
  allocation: (id: string) => allocationWorkflowId(asId(id)),
  'dlq-replay': (id: string) => dlqReplayWorkflowId(asId(id)),
};
type Stem = keyof typeof workflowIds;

const names = process.argv.slice(2);
await recordAll('allocation', scenarios, {});
await recordAll('allocation', continuedScenarios, { dynamicConfig: suggestAfterEvents });
await recordAll('dlq-replay', replayScenarios, {});
await recordAll('dlq-replay', continuedReplayScenarios, { dynamicConfig: suggestAfterEvents });

async function recordAll(
  stem: Stem,
  from: Readonly<Record<string, Scenario>>,
  options: Pick<LabOptions, 'dynamicConfig'>,
): Promise<void> {
  const wanted = Object.entries(from).filter(([name]) => names.length === 0 || names.includes(name));
  if (wanted.length === 0) return;
  const lab = await startLab({
    nodes: stem === 'allocation' ? wanted.map(([name]) => name) : [],
    ...options,
  });
  try {
    await registerKey(lab);
    for (const [name, scenario] of wanted) await record(lab, stem, name, scenario);
  } finally {
    await lab.stop();
  }
}

async function record(lab: Lab, stem: Stem, name: string, scenario: Scenario): Promise<void> {
  const { id, runId } = await scenario(lab, name);
  const handle = lab.temporal.workflow.getHandle(workflowIds[stem](id), runId);
  await until('the run has ended', async () => (await handle.describe()).status.name !== 'RUNNING');
  const history = JSON.parse(historyToJSON(await handle.fetchHistory())) as HistoryJson;
  const secrets = secretsIn(history);
  if (secrets.length > 0) throw new Error(`the history of ${name} holds ${secrets.join(', ')}`);
  const file = nextFile(stem, name);
  writeFileSync(file, `${JSON.stringify(history, undefined, 1)}\n`, { flag: 'wx' });
  addDigest(file);
  process.stdout.write(`${path.relative(process.cwd(), file)}\n`);
}

function addDigest(file: string): void {
  const digests = JSON.parse(readFileSync(digestFile, 'utf8')) as Record<string, string>;
  digests[path.basename(file)] = createHash('sha256').update(readFileSync(file)).digest('hex');
  writeFileSync(digestFile, `${JSON.stringify(digests, undefined, 2)}\n`);
}

function nextFile(stem: Stem, name: string): string {
  for (let version = 1; ; version += 1) {
    const file = path.join(historyFolder(stem), `${name}.v${version}.json`);
    if (!existsSync(file)) return file;
  }
}

/** A user without a key would prove nothing about keys. */
async function registerKey({ request }: Lab): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'gpuaas-key-'));
  try {
    const file = path.join(folder, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'recorded', '-f', file]);
    const body = { name: 'recorded', public_key: readFileSync(`${file}.pub`, 'utf8').trim() };
    const answer = await request('POST', '/api/v1/ssh-keys', { as: 'dev-user', body });
    if (answer.status !== 201) throw new Error(`registering a key answered ${answer.status}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
