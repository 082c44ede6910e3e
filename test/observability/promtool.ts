/** Runs promtool, and reads what it speaks of. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { promtool } from '../../workers/local/promtool.ts';

export const rulesFile = fileURLToPath(
  new URL('../../workers/local/observability/alerts.yaml', import.meta.url),
);

const ruleSchema = z.strictObject({
  alert: z.string(),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
  annotations: z.strictObject({ summary: z.string().min(10), runbook: z.string().min(10) }),
});
const rulesSchema = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(ruleSchema) })),
});

/** The alert rules. @throws when one lacks its severity, summary or runbook. */
export const readRules = (): z.output<typeof ruleSchema>[] =>
  rulesSchema.parse(parse(readFileSync(rulesFile, 'utf8'))).groups.flatMap(({ rules }) => rules);

/** Names of the metrics in an expression. */
export const metricsIn = (expr: string): string[] => [
  ...new Set([...expr.matchAll(/\b(?:gpuaas|http|temporal|nodejs|process)_\w+/g)].map(([name]) => name)),
];

export interface Verdict {
  readonly code: number | null;
  readonly output: string;
}

/** @param input what it reads from standard input. */
export async function runPromtool(args: readonly string[], input = ''): Promise<Verdict> {
  const child = spawn(await promtool(() => undefined), args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void (output += chunk.toString()));
  // It may end before it has read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** What a rule says about series at a moment. */
export interface RuleCase {
  readonly alert: string;
  /** Series with their values minute by minute, in promtool's notation. */
  readonly series: Readonly<Record<string, string>>;
  /** Minutes after the first values. */
  readonly atMinutes: number;
  /** How many of the alert fire. */
  readonly firing: number;
}

/** Runs cases against a file of rules, each with series of its own. */
export async function testRules(file: string, cases: readonly RuleCase[]): Promise<Verdict> {
  const tests = cases.map(({ alert, series, atMinutes, firing }) => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [
      {
        expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
        eval_time: `${atMinutes}m`,
        exp_samples: firing === 0 ? [] : [{ labels: '{}', value: firing }],
      },
    ],
  }));
  const folder = mkdtempSync(path.join(tmpdir(), 'rules-'));
  try {
    const testFile = path.join(folder, 'test.yaml');
    writeFileSync(testFile, stringify({ rule_files: [file], evaluation_interval: '1m', tests }));
    return await runPromtool(['test', 'rules', testFile]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
