/**
 * Branded identifiers and the only makers of workflow ids.
 *
 * A workflow id is an entity's identity: the open run is the lock, the Postgres key is the last word.
 */
declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

export type AllocationId = Branded<string, 'AllocationId'>;
export type NodeId = Branded<string, 'NodeId'>;
export type UserId = Branded<string, 'UserId'>;
export type OrgId = Branded<string, 'OrgId'>;
export type ProjectId = Branded<string, 'ProjectId'>;
export type OperationId = Branded<string, 'OperationId'>;
export type DlqReplayId = Branded<string, 'DlqReplayId'>;

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** True for a lower-case RFC 9562 uuid. */
export const isUuid = (value: unknown): value is string =>
  typeof value === 'string' && uuidPattern.test(value);

/** Brands a value that the caller knows to be the id of that kind (read from a row or parsed by a schema). */
export const asId = <T extends string>(value: string): T => value as unknown as T;

/** `allocation-<id>`. */
export const allocationWorkflowId = (id: AllocationId): string => `allocation-${id}`;

/** `dlq-replay-<id>`. */
export const dlqReplayWorkflowId = (id: DlqReplayId): string => `dlq-replay-${id}`;
