/** R1 writes the history that P wrote: same events, same payload bytes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import { liftLimits, startFleet, type Fleet } from './fleet.ts';
import { recordHistory } from './pickup.ts';
import { ProductDriver } from './product.ts';
import { RawDriver } from './raw.ts';
import { eventCounts, payloadBytes, scheduledActivities, shapeOf, type RecordedHistory } from './shape.ts';

const setUpDeadlineMs = 180_000;
const testDeadlineMs = 60_000;

let platform: Platform;
let fleet: Fleet;
let product: ProductDriver;
let recorded: RecordedHistory;
let raw: RawDriver;

beforeAll(async () => {
  platform = await startPlatform({ name: 'bench-test', ports: 'free', ephemeral: true });
  await liftLimits(platform);
  fleet = await startFleet(platform, 1);
  product = await ProductDriver.open(platform);
  recorded = await recordHistory(product.temporal, (await product.lifecycle()).workflowId);
  raw = await RawDriver.start(platform.stack, shapeOf(recorded));
}, setUpDeadlineMs);

afterAll(async () => {
  await raw?.stop();
  await product?.close();
  await fleet?.service.stop();
  await platform?.stop();
}, testDeadlineMs);

/** Without workflow tasks: a slow machine may need one more for the same commands. */
const commands = (history: RecordedHistory): Record<string, number> =>
  Object.fromEntries(
    Object.entries(eventCounts(history)).filter(([kind]) => !kind.startsWith('WORKFLOW_TASK_')),
  );

const rawHistory = async (): Promise<RecordedHistory> =>
  recordHistory(raw.temporal, (await raw.lifecycle()).workflowId);

describe('the raw workflow', () => {
  it('has the events of the recorded history, kind by kind', { timeout: testDeadlineMs }, async () => {
    expect(commands(await rawHistory())).toEqual(commands(recorded));
  });

  it('moves the payload bytes of the recorded history', { timeout: testDeadlineMs }, async () => {
    expect(payloadBytes(recorded)).toBeGreaterThan(0);
    expect(payloadBytes(await rawHistory())).toBe(payloadBytes(recorded));
  });

  it('needs as many workflow tasks', { timeout: testDeadlineMs }, async () => {
    // Both sides are repeated: a run that was disturbed has more of them than its shape asks for.
    const fewest = { product: Infinity, raw: Infinity };
    const tasks = (history: RecordedHistory): number => eventCounts(history)['WORKFLOW_TASK_COMPLETED'] ?? 0;
    await waitUntil(
      async () => {
        const own = await recordHistory(product.temporal, (await product.lifecycle()).workflowId);
        fewest.product = Math.min(fewest.product, tasks(own));
        fewest.raw = Math.min(fewest.raw, tasks(await rawHistory()));
        return fewest.product === fewest.raw;
      },
      { deadlineMs: testDeadlineMs / 2, onTimeout: () => `P needs ${fewest.product}, R1 ${fewest.raw}` },
    );
    expect(fewest.raw).toBe(fewest.product);
  });

  it(
    'schedules the activities of the recorded history in their order',
    { timeout: testDeadlineMs },
    async () => {
      const order = (of: RecordedHistory) => scheduledActivities(of).map((one) => one.summary);
      expect(order(recorded)).toHaveLength(5);
      expect(order(await rawHistory())).toEqual(order(recorded));
    },
  );
});

describe('the shape', () => {
  it('has a local activity, an activity or an upsert for each such event', () => {
    const kinds = shapeOf(recorded).steps.map((step) => step.kind);
    const count = (kind: string): number => kinds.filter((one) => one === kind).length;
    const counts = eventCounts(recorded);
    expect(count('localActivity')).toBe(counts['MARKER_RECORDED']);
    expect(count('activity')).toBe(counts['ACTIVITY_TASK_SCHEDULED']);
    expect(count('upsert')).toBe(counts['UPSERT_WORKFLOW_SEARCH_ATTRIBUTES']);
    expect(count('awaitUpdate')).toBe(counts['WORKFLOW_EXECUTION_UPDATE_ACCEPTED']);
    expect(count('answerUpdate')).toBe(counts['WORKFLOW_EXECUTION_UPDATE_COMPLETED']);
  });

  it('is refused for a run that has not completed', () => {
    expect(() => shapeOf({ events: recorded.events.slice(0, -1) })).toThrow('not one of a completed run');
  });

  it('is refused for a history with an event that it cannot copy', () => {
    const timer = { eventId: '2', eventType: 'EVENT_TYPE_TIMER_STARTED', eventTime: '2026-01-01T00:00:00Z' };
    const events = recorded.events.toSpliced(1, 0, timer);
    expect(() => shapeOf({ events })).toThrow('TIMER_STARTED');
  });

  it('is refused when an activity did not complete', () => {
    const events = recorded.events.filter(
      (event) => event.activityTaskCompletedEventAttributes === undefined,
    );
    expect(() => shapeOf({ events })).toThrow('did not complete');
  });
});
