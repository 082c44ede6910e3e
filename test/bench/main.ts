/** `npm run bench`: ratios of the product to the raw engine, from one run on one server. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { stateRoot } from '../../workers/local/paths.ts';
import { runInteractive, type RunContext } from '../../workers/local/run.ts';
import { runBench } from './bench.ts';
import { renderEventReport, runEventBench } from './event-plane.ts';
import { measureFanOut, renderFanOut } from './notifications.ts';
import { renderReport } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    repeats: { type: 'string' },
    concurrency: { type: 'string' },
    /** Postgres waits for the disk at every commit, which the engine's development server does not. */
    fsync: { type: 'boolean', default: false },
  },
});

const whole = (name: string, text: string | undefined, fallback: number): number => {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${name} is a whole number above 0`);
};

function save(name: string, report: unknown): string {
  const file = path.resolve(values.json ?? path.join(stateRoot(), `bench-${name}.json`));
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  return file;
}

/** What can be measured; the lifecycle when nothing is named. */
const suites: Readonly<Record<string, (context: RunContext) => Promise<void>>> = {
  lifecycle: async (context) => {
    const report = await runBench(context, {
      fsync: values.fsync,
      quick: values.quick,
      repeats: whole('repeats', values.repeats, values.quick ? 2 : 5),
      concurrency: whole('concurrency', values.concurrency, 12),
    });
    context.log(`\n${renderReport(report)}\n\nJSON: ${save('lifecycle', report)}`);
  },
  events: async (context) => {
    const repeats = values.repeats === undefined ? undefined : whole('repeats', values.repeats, 1);
    const report = await runEventBench(context, { quick: values.quick, repeats });
    context.log(`\n${renderEventReport(report)}\n\nJSON: ${save('events', report)}`);
  },
  notifications: async (context) => {
    const report = await measureFanOut(
      values.quick ? { sockets: 200, alerts: 5 } : { sockets: 2000, alerts: 20 },
    );
    context.log(`\n${renderFanOut(report)}\n`);
  },
};

const [name = 'lifecycle'] = positionals;
const suite = suites[name];
if (suite === undefined || positionals.length > 1) {
  throw new Error(`bench measures one of ${Object.keys(suites).join(', ')}`);
}
await runInteractive('bench', suite);
