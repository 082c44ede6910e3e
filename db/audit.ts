import type { Tx } from './client.ts';
import { now } from './clock.ts';
import { auditLogs } from './schema.ts';

export interface AuditEntry {
  readonly actorUserId: string | null;
  readonly actorRole: 'user' | 'admin' | 'node' | 'system';
  readonly action: string;
  readonly targetType: string;
  readonly targetId: string | null;
  readonly result: 'succeeded' | 'refused';
  readonly correlationId: string;
  /** Plain facts, already sanitised. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Appends an audit row in the transaction of the change that it tells of. */
export async function writeAudit(tx: Tx, entry: AuditEntry): Promise<void> {
  await tx.insert(auditLogs).values({ ...entry, details: entry.details ?? {}, at: now });
}
