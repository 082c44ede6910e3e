/** Another writer changed an entity behind its workflow's back: a defect, never retried. */
export class SecondWriterError extends Error {
  constructor(entityId: string, seq: number, found: string | null, wanted: string) {
    super(`entity ${entityId}: version ${seq} is ${found ?? 'missing'}, not ${wanted}`);
    this.name = 'SecondWriterError';
  }
}

/** The newest timeline entry of an entity, as far as it tells who wrote it. */
export interface LastEntry {
  readonly seq: number;
  readonly event: string | null;
  readonly operationId: string | null;
}

/**
 * Decides what it means that an entity does not stand where its writer saw it: nothing when the newest entry is the very
 * same event (a repeat).
 * @throws SecondWriterError when somebody else wrote that version.
 */
export function assertRepeat(
  entityId: string,
  last: LastEntry,
  wanted: { readonly event: string; readonly operationId: string | null },
): void {
  if (last.event === wanted.event && last.operationId === wanted.operationId) return;
  throw new SecondWriterError(entityId, last.seq, last.event, wanted.event);
}

/**
 * Appends the newest entry of an entity as a part of one statement, when the part `change` gave its row: with `id`,
 * `version`, `state` and `state_since`, in that statement's own names of the parameters.
 */
export const telling = (change: string, stem: string): string => `
  told as (
    insert into timeline (entity_id, seq, stem, event, from_state, to_state, at, actor_type, actor_user_id, reason,
      operation_id, correlation_id)
    select m.id, m.version, '${stem}', :event::text, :from::text, m.state::text, m.state_since, :actor_type::text,
      :actor_user_id::uuid, :reason::text, :operation_id::uuid, :correlation_id::text
    from ${change} m
  )`;
