/** `npm run bench`: ratios of the product to the raw engine, from one run on one server. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { runInteractive } from '../../workers/local/run.ts';
import { runBench } from './bench.ts';
import { renderReport } from './report.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    repeats: { type: 'string' },
    concurrency: { type: 'string' },
  },
});

const whole = (name: string, text: string | undefined, fallback: number): number => {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${name} is a whole number above 0`);
};

await runInteractive('bench', async (context) => {
  const { report, stateDir } = await runBench(context, {
    quick: values.quick,
    repeats: whole('repeats', values.repeats, values.quick ? 2 : 5),
    concurrency: whole('concurrency', values.concurrency, 12),
  });
  const file = path.resolve(values.json ?? path.join(stateDir, 'bench', 'report.json'));
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  context.log(`\n${renderReport(report)}\n\nJSON: ${file}`);
});
