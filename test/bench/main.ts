import { startPlatform } from '../../workers/local/platform.ts';
import { runInteractive } from '../../workers/local/run.ts';
import { liftLimits, startFleet } from './fleet.ts';
import { ProductDriver } from './product.ts';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { writeFileSync } from 'node:fs';
import { parseHistory, shapeOf, eventCounts, payloadBytes } from './shape.ts';
import { RawDriver } from './raw.ts';
await runInteractive('bench', async ({ log, onStop }) => {
  const platform = await startPlatform({ name: 'bench', ports: 'free', wipe: true, log });
  onStop(() => platform.stop());
  await liftLimits(platform);
  const fleet = await startFleet(platform, 4);
  onStop(() => fleet.service.stop());
  const p = await ProductDriver.open(platform);
  onStop(() => p.close());
  let id = '';
  for (let i = 0; i < 10; i++) { const l = await p.lifecycle(); log(JSON.stringify(l)); id = l.workflowId; }
  const h = historyToJSON(await p.temporal.workflow.getHandle(id).fetchHistory());
  writeFileSync('/tmp/p.json', typeof h === 'string' ? h : JSON.stringify(h));
  const rec = parseHistory(typeof h === 'string' ? JSON.parse(h) : h);
  const shape = shapeOf(rec);
  log(JSON.stringify(shape, null, 1));
  log(JSON.stringify(eventCounts(rec)) + payloadBytes(rec));
  const raw = await RawDriver.start(platform.stack, shape);
  onStop(() => raw.stop());
  for (let i = 0; i < 10; i++) { const l = await raw.lifecycle(); log(JSON.stringify(l)); id = l.workflowId; }
  for (let i = 0; i < 10; i++) log(String(await raw.empty()));
  const h2 = historyToJSON(await p.temporal.workflow.getHandle(id).fetchHistory());
  writeFileSync('/tmp/r1.json', typeof h2 === 'string' ? h2 : JSON.stringify(h2));
  const rec2 = parseHistory(typeof h2 === 'string' ? JSON.parse(h2) : h2);
  log(JSON.stringify(eventCounts(rec2)) + payloadBytes(rec2));
});
