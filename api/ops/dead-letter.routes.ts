import { CodedError } from '../../contracts/errors.ts';
import {
  adminDiscardDeadLetter,
  adminGetDeadLetter,
  adminListDeadLetters,
  adminReplayDeadLetter,
} from '../../contracts/ops/dead-letter.api.ts';
import { discardRefusal, replayRefusal } from '../../contracts/ops/dlq-replay.guards.ts';
import { writeAudit } from '../../db/audit.ts';
import type { Queryable } from '../../db/client.ts';
import { discardDeadLetter, lockDeadLetter } from '../../db/ops/dead-letter-desk.store.ts';
import {
  deadLetterDetailView,
  getDeadLetterView,
  listDeadLetterViews,
} from '../../db/ops/dead-letter.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type RequestContext, type Route } from '../route.ts';
import { orderReplay } from './dlq-replay.routes.ts';

/** Messages that consumers gave up on, for admins. @param sanitise removes secrets from what a message held. */
export function deadLetterRoutes(deps: ApiDeps, sanitise: (value: unknown) => unknown): Route[] {
  return [
    route(adminListDeadLetters, async ({ query }) => {
      const { limit, cursor, ...filter } = query;
      const [before] = readCursor(cursor, ['bigint']) ?? [];
      const rows = await listDeadLetterViews(deps.db.q, filter, before, limit);
      const last = rows.at(limit - 1);
      return pageAnswer(
        rows.map((row) => row.view),
        limit,
        () => (last === undefined ? [] : [last.seq]),
      );
    }),
    route(adminGetDeadLetter, async ({ params }) => ({
      status: 200,
      body: deadLetterDetailView(await surely(deps.db.q, params.dead_letter_id), sanitise),
    })),
    route(adminReplayDeadLetter, (request) => {
      const { dead_letter_id: id } = request.params;
      const wanted = { filter: { dead_letter_id: id }, dryRun: false, reason: request.body.reason };
      return orderReplay(deps, adminReplayDeadLetter, request, wanted, async () => {
        const { row, view } = await surely(deps.db.q, id);
        const code = replayRefusal({ ...row, resolved: view.resolved });
        if (code !== undefined) throw new CodedError(code);
      });
    }),
    route(adminDiscardDeadLetter, (request) => discard(deps, request)),
  ];
}

const discard = (deps: ApiDeps, request: RequestContext<typeof adminDiscardDeadLetter>) =>
  once(deps, adminDiscardDeadLetter, request, async (tx) => {
    const { caller, correlationId, params, body } = request;
    const id = params.dead_letter_id;
    const letter = await lockDeadLetter(tx, id);
    if (letter === undefined) throw new CodedError('dead_letter_not_found');
    const { resolved } = (await surely(tx, id)).view;
    const code = discardRefusal({ state: letter.state, resolved });
    if (code !== undefined) throw new CodedError(code);
    await discardDeadLetter(tx, id, body.reason);
    await writeAudit(tx, {
      actorUserId: caller.userId,
      actorRole: 'admin',
      action: 'dead_letter.discard',
      targetType: 'dead_letter',
      targetId: id,
      result: 'succeeded',
      correlationId,
      details: { reason: body.reason, subject: letter.subject, consumer: letter.consumer },
    });
    const { view } = await surely(tx, id);
    return { status: 200, body: { ...view } };
  });

async function surely(q: Queryable, id: string) {
  const found = await getDeadLetterView(q, id);
  if (found === undefined) throw new CodedError('dead_letter_not_found');
  return found;
}
