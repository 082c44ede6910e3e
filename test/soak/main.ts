/** `npm run soak -- <name>`: long runs with outages, kills and growth. See README.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { runInteractive, type RunContext } from '../../workers/local/run.ts';
import { soakEvents } from './events.ts';
import { soakLifecycles } from './lifecycles.ts';
import type { SoakResult } from './result.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string' },
    concurrency: { type: 'string', default: '6' },
    'kill-every': { type: 'string', default: '0' },
    'sample-every': { type: 'string', default: '30' },
    events: { type: 'string', default: '100000' },
    outage: { type: 'string', default: '10' },
    'disturb-every': { type: 'string', default: '30' },
    seed: { type: 'string' },
    json: { type: 'string' },
  },
});

const soaks: Readonly<Record<string, (context: RunContext) => Promise<SoakResult>>> = {
  lifecycles: (context) =>
    soakLifecycles(context, {
      minutes: Number(values.minutes ?? 60),
      concurrency: Number(values.concurrency),
      killEverySeconds: Number(values['kill-every']),
      sampleEverySeconds: Number(values['sample-every']),
    }),
  events: (context) =>
    soakEvents(context, {
      events: Number(values.events),
      outageMinutes: Number(values.outage),
      disturbEverySeconds: Number(values['disturb-every']),
      seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed),
    }),
};

const [name = 'lifecycles'] = positionals;
const soak = soaks[name];
if (soak === undefined || positionals.length > 1) {
  throw new Error(`there is a soak for each of ${Object.keys(soaks).join(', ')}`);
}
await runInteractive('soak', async (context) => {
  const { report, summary, stateDir, broken } = await soak(context);
  const file = path.resolve(values.json ?? path.join(stateDir, 'soak', 'report.json'));
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  context.log(JSON.stringify(summary, null, 2));
  context.log(`JSON: ${file}`);
  if (broken !== undefined) throw new Error(broken);
});
