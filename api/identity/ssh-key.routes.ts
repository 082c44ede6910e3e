import { createSshKey, deleteSshKey, listSshKeys } from '../../contracts/identity/ssh-key.api.ts';
import { deleteSshKeyOf, insertSshKey, listSshKeyViews } from '../../db/identity/ssh-key.store.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';
import { parseSshPublicKey } from './ssh-public-key.ts';

/** The caller's own SSH keys. */
export function sshKeyRoutes(deps: ApiDeps): Route[] {
  return [
    route(createSshKey, (request) => {
      const { caller, body } = request;
      const key = parseSshPublicKey(body.public_key);
      return once(deps, createSshKey, request, async (tx) => {
        const made = await insertSshKey(tx, { userId: caller.userId, name: body.name, ...key });
        return { status: 201, body: { ...made } };
      });
    }),
    route(listSshKeys, async ({ caller, query }) => {
      const position = readCursor(query.cursor, ['instant', 'uuid']);
      const after = position && { createdAt: position[0], id: position[1] };
      const items = await listSshKeyViews(deps.db.q, caller.userId, after, query.limit);
      return pageAnswer(items, query.limit, (item) => [new Date(item.created_at), item.id]);
    }),
    route(deleteSshKey, (request) =>
      once(deps, deleteSshKey, request, async (tx) => {
        await deleteSshKeyOf(tx, request.caller, request.params.ssh_key_id);
        return { status: 204, body: null };
      }),
    ),
  ];
}
