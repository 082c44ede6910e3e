import { listSkus } from '../../contracts/nodes/sku.api.ts';
import { listSkuViews } from '../../db/nodes/sku.views.ts';
import type { ApiDeps } from '../deps.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Route } from '../route.ts';

/** The catalogue. */
export function skuRoutes(deps: ApiDeps): Route[] {
  return [
    route(listSkus, async ({ query: { limit, cursor } }) => {
      const [after] = readCursor(cursor, ['text']) ?? [];
      const offlineAfterSeconds = await deps.policies.get('node.offline_after_seconds');
      const skus = await listSkuViews(deps.db.q, offlineAfterSeconds, after, limit);
      return pageAnswer(skus, limit, (sku) => [sku.code]);
    }),
  ];
}
