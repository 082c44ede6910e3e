/** What every command to the engine shares: its deadlines, its update ids, and what its silence means. */
import { createHash } from 'node:crypto';
import {
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  isGrpcServiceError,
  type Client,
} from '@temporalio/client';
import { channelOf } from '../contracts/channels.ts';
import { CodedError } from '../contracts/errors.ts';
import { findOperation, type OperationRow } from '../db/ops/operation.store.ts';
import { operationView } from '../db/ops/operation.views.ts';
import type { ApiDeps } from './deps.ts';
import type { Answer } from './route.ts';

/** How long a caller waits for the engine's answer before it gets 202 or 503. */
const answerDeadlineMs = 5000;
/** How long the check may take whether the engine has the run at all. */
const describeDeadlineMs = 1000;
/** A workflow task that was started on a worker that died is given to another after this. */
export const workflowTaskTimeout = '3 seconds';

/** `pending`: the engine has it and will decide. `unknown`: nobody can say; the same key finds out. */
export type EngineAnswer<T> =
  | { readonly kind: 'decided'; readonly outcome: T }
  | { readonly kind: 'pending' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'unknown'; readonly cause: unknown };

/**
 * Never a caller's raw key: engines compare update ids of all callers, and their length is bounded. A command that an
 * event gives has the event's subject as route and an id of the event as key: that id is nobody else's, and is taken.
 */
export const updateIdOf = (caller: string, route: string, key: string): string =>
  channelOf(route) === undefined
    ? createHash('sha256').update(`${caller}\n${route}\n${key}`).digest('base64url')
    : key;

/** Waits for the engine's answer to `call` for as long as a caller can; afterwards only a look at the run can tell. */
export async function answered<T>(
  client: Client,
  workflowId: string,
  call: () => Promise<T>,
): Promise<EngineAnswer<T>> {
  try {
    return { kind: 'decided', outcome: await client.withDeadline(Date.now() + answerDeadlineMs, call) };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || error instanceof WorkflowExecutionAlreadyStartedError) {
      return { kind: 'closed' };
    }
    const mayBeUnderWay =
      error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
      error instanceof ServiceError ||
      error instanceof WorkflowUpdateFailedError ||
      isGrpcServiceError(error);
    if (!mayBeUnderWay) throw error;
    return (await hasOpenRun(client, workflowId)) ? { kind: 'pending' } : { kind: 'unknown', cause: error };
  }
}

/** An engine that is down and one that is slow raise the same error: only a look can tell them apart. */
async function hasOpenRun(client: Client, workflowId: string): Promise<boolean> {
  try {
    const handle = client.workflow.getHandle(workflowId);
    const seen = await client.withDeadline(Date.now() + describeDeadlineMs, () => handle.describe());
    return seen.status.name === 'RUNNING';
  } catch {
    return false;
  }
}

/** The operation's row decides what the caller hears; the engine's silence only decides between 202 and 503. */
export async function settle(
  deps: ApiDeps,
  operation: OperationRow,
  result: EngineAnswer<unknown>,
  answer: (decided: OperationRow) => Answer,
): Promise<Answer> {
  const current = await findOperation(deps.db.q, operation.id);
  if (current !== undefined && current.state !== 'open') return answer(current);
  if (result.kind === 'pending') {
    return {
      status: 202,
      body: operationView(operation),
      headers: { location: `/api/v1/operations/${operation.id}` },
    };
  }
  throw new CodedError('service_unavailable', {
    cause: result.kind === 'unknown' ? result.cause : result.kind,
  });
}
