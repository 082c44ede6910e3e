import { createHash, createHmac, randomUUID } from 'node:crypto';
import { CodedError } from '../../contracts/errors.ts';
import { adminGetNode, adminListNodes, adminRegisterNode } from '../../contracts/nodes/node.api.ts';
import { writeAudit } from '../../db/audit.ts';
import { insertNode } from '../../db/nodes/node.store.ts';
import { getNodeView, listNodeViews } from '../../db/nodes/node.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** Placeholder of the secret in the stored answer. */
const redacted = '[REDACTED]';

/**
 * The secret of a node's agent, derived from the server's key: a repeat of the registration gives it again, and nothing
 * keeps it.
 */
export const agentSecretOf = (serverKey: Buffer, nodeId: string): string =>
  createHmac('sha256', serverKey).update(`agent-secret:${nodeId}`).digest('base64url');

/** sha256 of an agent's secret, as the node's row keeps it. */
export const agentSecretHash = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Nodes, for admins. */
export function nodeRoutes(deps: ApiDeps): Route[] {
  return [
    route(adminRegisterNode, async (request) => {
      const { caller, body, correlationId } = request;
      const stored = await once(deps, adminRegisterNode, request, async (tx) => {
        const id = randomUUID();
        const hash = agentSecretHash(agentSecretOf(deps.nodeSecretKey, id));
        const { name, sku, ssh_host: sshHost, ssh_port: sshPort } = body;
        await insertNode(tx, { id, name, sku, sshHost, sshPort, agentSecretHash: hash });
        await writeAudit(tx, {
          actorUserId: caller.userId,
          actorRole: 'admin',
          action: 'node.register',
          targetType: 'node',
          targetId: id,
          result: 'succeeded',
          correlationId,
          details: { name, sku },
        });
        return { status: 201, body: { ...(await getNodeView(tx, id)), agent_secret: redacted } };
      });
      const id = String(stored.body?.['id']);
      const answer = { ...stored.body, agent_secret: agentSecretOf(deps.nodeSecretKey, id) };
      return { status: stored.status, body: answer, headers: { Location: `/api/v1/admin/nodes/${id}` } };
    }),
    route(adminListNodes, async ({ query }) => {
      const { limit, cursor, ...filter } = query;
      const [afterName] = readCursor(cursor, ['text']) ?? [];
      const items = await listNodeViews(deps.db.q, filter, afterName, limit);
      return pageAnswer(items, limit, (item) => [item.name]);
    }),
    route(adminGetNode, async ({ params }) => {
      const node = await getNodeView(deps.db.q, params.node_id);
      if (node === undefined) throw new CodedError('node_not_found');
      return { status: 200, body: node };
    }),
  ];
}
