/** Runs schemathesis against an address and judges the run by its findings and by the answers that it got. */
import { spawn } from 'node:child_process';
import { copyFileSync, createReadStream, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { boundToParent } from '../../workers/local/process.ts';

const configFile = fileURLToPath(new URL('schemathesis.toml', import.meta.url));
const hooksFile = fileURLToPath(new URL('hooks.py', import.meta.url));
const outputTailChars = 12_000;
/** The tool takes a 429 for an answer like any other: more than this part of them means that it saw nothing. */
const maxLimitedPart = 0.01;

export interface FuzzTarget {
  /** Address or file of the OpenAPI document. */
  readonly document: string;
  readonly url: string;
  readonly token: string;
  /** Folder with a dictionary for every name in schemathesis.toml. */
  readonly factsDir: string;
  /** Choice of operations, as flags of schemathesis. */
  readonly operations?: readonly string[];
  /** Of a listener with a certificate. */
  readonly caFile?: string;
  /** Most examples of one operation; what schemathesis.toml says unless given. */
  readonly examples?: number | undefined;
  readonly deadlineMs: number;
}

/** What a run of the tool did. */
export interface FuzzRun {
  readonly exitCode: number;
  /** End of what it printed. */
  readonly output: string;
  /** Operations by `METHOD /path`, with how often each status was answered. */
  readonly answers: ReadonlyMap<string, ReadonlyMap<number, number>>;
}

/** A finished run, and everything that is wrong with it: good when there is no complaint. */
export interface FuzzVerdict {
  readonly requests: number;
  readonly limited: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly complaints: readonly string[];
}

const scenarioSchema = z.object({
  ScenarioFinished: z.object({
    recorder: z.object({
      cases: z.record(z.string(), z.object({ value: z.object({ path: z.string() }) })).default({}),
      interactions: z
        .record(
          z.string(),
          z.object({
            request: z.object({ method: z.string() }),
            response: z.object({ status_code: z.number() }).nullish(),
          }),
        )
        .default({}),
    }),
  }),
});

/**
 * Runs all phases and checks.
 * @param python of schemathesisPython().
 * @throws Error when the tool does not end in time.
 */
export async function runSchemathesis(python: string, target: FuzzTarget): Promise<FuzzRun> {
  const scratch = mkdtempSync(path.join(tmpdir(), 'gpuaas-fuzz-'));
  try {
    const config = path.join(target.factsDir, 'schemathesis.toml');
    copyFileSync(configFile, config);
    const { exitCode, output } = await runTool(python, config, scratch, target);
    const report = readdirSync(scratch).find((file) => file.endsWith('.ndjson'));
    const answers = report === undefined ? new Map() : await readAnswers(path.join(scratch, report));
    return { exitCode, output, answers };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runTool(
  python: string,
  config: string,
  scratch: string,
  target: FuzzTarget,
): Promise<{ exitCode: number; output: string }> {
  const line = boundToParent({ command: python, args: argumentsOf(config, scratch, target) }, 'KILL');
  if (line === undefined) throw new Error('setpriv is not installed: the tool could outlive the test');
  const child = spawn(line.command, [...line.args], {
    cwd: scratch,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: target.deadlineMs,
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      // An argument could be read by everybody on the machine.
      FUZZ_TOKEN: target.token,
      FUZZ_FACTS: target.factsDir,
      FUZZ_HOOKS: hooksFile,
      PYTHONDONTWRITEBYTECODE: '1',
    },
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-outputTailChars);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...ended) => resolve(ended));
  });
  if (code === null)
    throw new Error(`schemathesis ended by ${signal} within ${target.deadlineMs} ms:\n${output}`);
  return { exitCode: code, output };
}

function argumentsOf(config: string, scratch: string, target: FuzzTarget): string[] {
  const examples = target.examples === undefined ? [] : ['--max-examples', String(target.examples)];
  const tls = target.caFile === undefined ? [] : ['--tls-verify', target.caFile];
  return [
    ...['-m', 'schemathesis.cli', '--config-file', config, 'run', target.document, '--url', target.url],
    ...['--checks', 'all', '--mode', 'all', '--phases', 'examples,coverage,fuzzing,stateful'],
    ...['--report', 'ndjson', '--report-dir', scratch, '--no-color', '--generation-database', 'none'],
    ...(target.operations ?? []),
    ...tls,
    ...examples,
  ];
}

async function readAnswers(file: string): Promise<Map<string, Map<number, number>>> {
  const answers = new Map<string, Map<number, number>>();
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const event = scenarioSchema.safeParse(JSON.parse(line));
    if (!event.success) continue;
    const { cases, interactions } = event.data.ScenarioFinished.recorder;
    for (const [id, { request, response }] of Object.entries(interactions)) {
      if (response == null) continue;
      const operation = `${request.method} ${cases[id]?.value.path ?? '?'}`;
      const statuses = answers.get(operation) ?? new Map<number, number>();
      statuses.set(response.status_code, (statuses.get(response.status_code) ?? 0) + 1);
      answers.set(operation, statuses);
    }
  }
  return answers;
}

/**
 * Judges a run.
 * @param expected every operation, as `METHOD /path`, that must have been answered with success.
 */
export function judgeFuzz(run: FuzzRun, expected: readonly string[]): FuzzVerdict {
  const byStatus: Record<string, number> = {};
  for (const statuses of run.answers.values()) {
    for (const [status, count] of statuses) byStatus[status] = (byStatus[status] ?? 0) + count;
  }
  const requests = Object.values(byStatus).reduce((sum, count) => sum + count, 0);
  const limited = byStatus['429'] ?? 0;
  const complaints: string[] = [];
  if (run.exitCode !== 0) complaints.push(`schemathesis ended with ${run.exitCode}:\n${run.output}`);
  if (expected.length === 0) complaints.push('no operation was to be examined');
  if (requests === 0) complaints.push('no request was answered');
  if (limited >= requests * maxLimitedPart && limited > 0)
    complaints.push(`${limited} of ${requests} answers are 429: the limits are in the way`);
  const failures = Object.keys(byStatus).filter((status) => status.startsWith('5'));
  for (const status of failures) complaints.push(`${byStatus[status]} answers are ${status}`);
  for (const operation of expected) {
    const statuses = [...(run.answers.get(operation)?.keys() ?? [])];
    if (!statuses.some((status) => status >= 200 && status < 300))
      complaints.push(`${operation} never succeeded: ${statuses.join(', ') || 'never called'}`);
  }
  return { requests, limited, byStatus, complaints };
}
