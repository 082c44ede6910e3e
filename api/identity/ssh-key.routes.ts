import { createSshKey, deleteSshKey, listSshKeys } from '../../contracts/identity/ssh-key.api.ts';
import {
  deleteSshKeyOf,
  insertSshKey,
  listSshKeyViews,
  lockedKeyCount,
} from '../../db/identity/ssh-key.store.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { validationError } from '../middleware/errors.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';
import { parseSshPublicKey } from './ssh-public-key.ts';

const tooManyKeys = (max: number) =>
  validationError({
    path: 'body.public_key',
    code: 'too_many_keys',
    message: `A user has at most ${max} keys; delete one first.`,
  });

/** The caller's own SSH keys. */
export function sshKeyRoutes(deps: ApiDeps): Route[] {
  return [
    route(createSshKey, async (request) => {
      const { caller, body } = request;
      const key = parseSshPublicKey(body.public_key);
      const max = await deps.policies.get('ssh_keys.max_per_user');
      return await once(deps, createSshKey, request, async (tx) => {
        if ((await lockedKeyCount(tx, caller.userId)) >= max) throw tooManyKeys(max);
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
