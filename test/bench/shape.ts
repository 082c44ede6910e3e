/**
 * R1's shape, read out of a recorded history of the product: which commands in which order, with payloads of the same
 * size. Nobody chooses it, so nobody can pad it.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** How an activity was scheduled, as its history says it; durations in ms. */
export interface ActivityShape {
  readonly summary: string | null;
  readonly inputBytes: number;
  readonly resultBytes: number;
  readonly scheduleToCloseMs: number;
  readonly startToCloseMs: number;
  readonly heartbeatMs: number;
}

/** One step of the raw workflow. */
export type Step =
  | { readonly kind: 'localActivity'; readonly resultBytes: number; readonly announce: boolean }
  | { readonly kind: 'activity'; readonly activity: ActivityShape }
  | { readonly kind: 'upsert'; readonly attributes: Readonly<Record<string, string>> }
  | { readonly kind: 'awaitUpdate'; readonly name: string }
  | { readonly kind: 'answerUpdate'; readonly name: string; readonly resultBytes: number };

/** A whole run: how it is started, its steps, what it returns. */
export interface Shape {
  readonly inputBytes: number;
  readonly resultBytes: number;
  readonly summaryBytes: number;
  readonly attributes: Readonly<Record<string, string>>;
  readonly workflowTaskTimeoutMs: number;
  /** Argument size of each update, by name. */
  readonly updates: Readonly<Record<string, number>>;
  readonly steps: readonly Step[];
}

const payload = z.object({ data: z.string().nullish() }).nullish();
const payloads = z.object({ payloads: z.array(payload).nullish() }).nullish();
type Payloads = z.infer<typeof payloads>;
const metadata = z.object({ summary: payload }).nullish();
const fields = z.object({ indexedFields: z.record(z.string(), payload).nullish() }).nullish();
const duration = z.string().nullish();

const eventSchema = z.object({
  eventType: z.string(),
  eventTime: z.string(),
  userMetadata: metadata,
  workflowExecutionStartedEventAttributes: z
    .object({ input: payloads, workflowTaskTimeout: duration, searchAttributes: fields })
    .optional(),
  workflowExecutionCompletedEventAttributes: z.object({ result: payloads }).optional(),
  workflowExecutionUpdateAcceptedEventAttributes: z
    .object({
      protocolInstanceId: z.string(),
      acceptedRequest: z.object({ input: z.object({ name: z.string(), args: payloads }) }),
    })
    .optional(),
  workflowExecutionUpdateCompletedEventAttributes: z
    .object({
      meta: z.object({ updateId: z.string() }),
      outcome: z.object({ success: payloads }),
    })
    .optional(),
  markerRecordedEventAttributes: z
    .object({ markerName: z.string(), details: z.record(z.string(), payloads).nullish() })
    .optional(),
  upsertWorkflowSearchAttributesEventAttributes: z.object({ searchAttributes: fields }).optional(),
  activityTaskScheduledEventAttributes: z
    .object({
      input: payloads,
      scheduleToCloseTimeout: duration,
      startToCloseTimeout: duration,
      heartbeatTimeout: duration,
    })
    .optional(),
  activityTaskCompletedEventAttributes: z
    .object({ result: payloads, scheduledEventId: z.union([z.string(), z.number()]) })
    .optional(),
});

const historySchema = z.object({
  events: z.array(eventSchema.and(z.object({ eventId: z.union([z.string(), z.number()]) }))),
});
export type RecordedHistory = z.infer<typeof historySchema>;
type RecordedEvent = RecordedHistory['events'][number];

/** @throws when it is no history in the JSON form of Temporal. */
export const parseHistory = (json: unknown): RecordedHistory => historySchema.parse(json);

export const readHistoryFile = (file: string): RecordedHistory =>
  parseHistory(JSON.parse(readFileSync(file, 'utf8')));

const bytesOf = (given: Payloads): number =>
  (given?.payloads ?? []).reduce((sum, one) => sum + Buffer.byteLength(one?.data ?? '', 'base64'), 0);

const textOf = (given: z.infer<typeof payload>): string | null => {
  if (given?.data == null) return null;
  const value: unknown = JSON.parse(Buffer.from(given.data, 'base64').toString('utf8'));
  return typeof value === 'string' ? value : null;
};

/** Keyword attributes with their values; a one-element list is its element. */
function attributesOf(given: z.infer<typeof fields>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(given?.indexedFields ?? {})) {
    if (value?.data == null) continue;
    const parsed: unknown = JSON.parse(Buffer.from(value.data, 'base64').toString('utf8'));
    const first: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
    if (typeof first === 'string') found[name] = first;
  }
  return found;
}

const msOf = (text: string | null | undefined): number => Math.round(Number.parseFloat(text ?? '0') * 1000);

/** Kinds that carry no step of their own. */
const passive = new Set([
  'WORKFLOW_TASK_SCHEDULED',
  'WORKFLOW_TASK_STARTED',
  'WORKFLOW_TASK_COMPLETED',
  'ACTIVITY_TASK_STARTED',
  'ACTIVITY_TASK_COMPLETED',
  'WORKFLOW_EXECUTION_STARTED',
  'WORKFLOW_EXECUTION_COMPLETED',
]);

const kindOf = (event: RecordedEvent): string => event.eventType.replace(/^EVENT_TYPE_/, '');

/** How many events of each kind a history has. */
export function eventCounts(history: RecordedHistory): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const event of history.events) counts[kindOf(event)] = (counts[kindOf(event)] ?? 0) + 1;
  return counts;
}

/** When each activity was scheduled, in ms since the epoch, with its summary. */
export const scheduledActivities = (
  history: RecordedHistory,
): { summary: string | null; scheduledAtMs: number }[] =>
  history.events
    .filter((event) => event.activityTaskScheduledEventAttributes !== undefined)
    .map((event) => ({
      summary: textOf(event.userMetadata?.summary),
      scheduledAtMs: instantMs(event.eventTime),
    }));

/** Milliseconds with a fraction: the engine writes nanoseconds, `Date` keeps whole ms. */
function instantMs(text: string): number {
  const fraction = /\.(\d+)Z$/.exec(text)?.[1] ?? '0';
  return Date.parse(text.replace(/\.\d+Z$/, 'Z')) + Number(`0.${fraction}`) * 1000;
}

/** Bytes of all payloads of a history, markers' bookkeeping left out. */
export const payloadBytes = (history: RecordedHistory): number =>
  history.events.reduce((sum, event) => {
    const update = event.workflowExecutionUpdateAcceptedEventAttributes;
    return (
      sum +
      bytesOf(event.workflowExecutionStartedEventAttributes?.input) +
      bytesOf(event.workflowExecutionCompletedEventAttributes?.result) +
      bytesOf(update?.acceptedRequest.input.args) +
      bytesOf(event.workflowExecutionUpdateCompletedEventAttributes?.outcome.success) +
      bytesOf(event.markerRecordedEventAttributes?.details?.['result']) +
      bytesOf(event.activityTaskScheduledEventAttributes?.input) +
      bytesOf(event.activityTaskCompletedEventAttributes?.result)
    );
  }, 0);

/**
 * Turns a history into the steps that write the same one.
 * @throws when it holds what a straight run does not have (a failed activity, a timer, an unfinished end).
 */
export function shapeOf(history: RecordedHistory): Shape {
  const { events } = history;
  const started = events[0]?.workflowExecutionStartedEventAttributes;
  const completed = events.at(-1)?.workflowExecutionCompletedEventAttributes;
  if (started === undefined || completed === undefined)
    throw new Error('the history is not one of a completed run');
  const names = new Map<string, string>();
  const updates: Record<string, number> = {};
  const steps: Step[] = [];
  let before: RecordedEvent | undefined;
  for (const event of events) {
    const accepted = event.workflowExecutionUpdateAcceptedEventAttributes;
    if (accepted !== undefined) {
      const { name, args } = accepted.acceptedRequest.input;
      names.set(accepted.protocolInstanceId, name);
      updates[name] = bytesOf(args);
    }
    const step = stepOf(event, events, names);
    // The engine writes an update's answer behind the commands of the same workflow task: it came before their wait.
    const behind =
      step?.kind === 'answerUpdate' && before?.activityTaskScheduledEventAttributes !== undefined;
    if (step !== undefined) steps.splice(behind ? steps.length - 1 : steps.length, 0, step);
    before = event;
  }
  return {
    inputBytes: bytesOf(started.input),
    resultBytes: bytesOf(completed.result),
    summaryBytes: textOf(events[0]?.userMetadata?.summary)?.length ?? 0,
    attributes: attributesOf(started.searchAttributes),
    workflowTaskTimeoutMs: msOf(started.workflowTaskTimeout),
    updates,
    steps: announced(steps),
  };
}

function stepOf(
  event: RecordedEvent,
  all: readonly RecordedEvent[],
  names: Map<string, string>,
): Step | undefined {
  const kind = kindOf(event);
  if (passive.has(kind)) return undefined;
  const accepted = event.workflowExecutionUpdateAcceptedEventAttributes;
  if (accepted !== undefined) return { kind: 'awaitUpdate', name: accepted.acceptedRequest.input.name };
  const answered = event.workflowExecutionUpdateCompletedEventAttributes;
  if (answered !== undefined) {
    const name = names.get(answered.meta.updateId);
    if (name === undefined) throw new Error('an update was answered that was never accepted');
    return { kind: 'answerUpdate', name, resultBytes: bytesOf(answered.outcome.success) };
  }
  const marker = event.markerRecordedEventAttributes;
  if (marker?.markerName === 'core_local_activity') {
    return { kind: 'localActivity', resultBytes: bytesOf(marker.details?.['result']), announce: false };
  }
  const upsert = event.upsertWorkflowSearchAttributesEventAttributes;
  if (upsert !== undefined) return { kind: 'upsert', attributes: attributesOf(upsert.searchAttributes) };
  const scheduled = event.activityTaskScheduledEventAttributes;
  if (scheduled === undefined) throw new Error(`a raw run cannot copy the event ${kind}`);
  const sameActivity = (one: RecordedEvent): boolean =>
    String(one.activityTaskCompletedEventAttributes?.scheduledEventId) === String(event.eventId);
  const done = all.find(sameActivity)?.activityTaskCompletedEventAttributes;
  if (done === undefined) throw new Error('an activity of the history did not complete');
  return {
    kind: 'activity',
    activity: {
      summary: textOf(event.userMetadata?.summary),
      inputBytes: bytesOf(scheduled.input),
      resultBytes: bytesOf(done.result),
      scheduleToCloseMs: msOf(scheduled.scheduleToCloseTimeout),
      startToCloseMs: msOf(scheduled.startToCloseTimeout),
      heartbeatMs: msOf(scheduled.heartbeatTimeout),
    },
  };
}

/** The first update comes with the start; before every later one the client has to be told that it is time. */
function announced(steps: readonly Step[]): Step[] {
  const later = steps.findLastIndex((step) => step.kind === 'awaitUpdate');
  const at = steps.slice(0, later).findLastIndex((step) => step.kind === 'localActivity');
  return steps.map((step, index) =>
    step.kind === 'localActivity' && index === at ? { ...step, announce: true } : step,
  );
}
