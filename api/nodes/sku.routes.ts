import { listSkus } from '../../contracts/nodes/sku.api.ts';
import { listSkuViews } from '../../db/nodes/sku.views.ts';
import type { ApiDeps } from '../deps.ts';
import { route, type Route } from '../route.ts';

/** The catalogue. */
export function skuRoutes(deps: ApiDeps): Route[] {
  return [
    route(listSkus, async () => {
      const offlineAfterSeconds = await deps.policies.get('node.offline_after_seconds');
      return { status: 200, body: { items: await listSkuViews(deps.db.q, offlineAfterSeconds) } };
    }),
  ];
}
