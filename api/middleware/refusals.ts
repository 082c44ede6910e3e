import type { Endpoint } from '../../contracts/http.api.ts';
import { writeAudit } from '../../db/audit.ts';
import type { Database } from '../../db/client.ts';
import type { Caller } from '../route.ts';
import { lowerUuid } from './validate.ts';

/** Leaves an audit row of a privileged mutation that was refused for lack of the role. */
export async function auditRefusal(
  db: Database,
  endpoint: Endpoint,
  request: {
    readonly caller: Caller;
    readonly params: Readonly<Record<string, string>>;
    readonly correlationId: string;
  },
): Promise<void> {
  const { audit: action } = endpoint;
  if (action === undefined) return;
  const [target] = Object.values(request.params);
  await db.tx((tx) =>
    writeAudit(tx, {
      actorUserId: request.caller.userId,
      actorRole: 'user',
      action,
      targetType: action.split('.')[0] ?? action,
      // What stands in a path is a stranger's text: only an id or a key is kept.
      targetId: target !== undefined && /^[A-Za-z0-9._-]{1,100}$/.test(target) ? lowerUuid(target) : null,
      result: 'refused',
      correlationId: request.correlationId,
      details: { code: 'admin_required' },
    }),
  );
}
