import { sql } from 'drizzle-orm';
import type { Database } from '../client.ts';

/** Notes that the agent of a node called; the first call makes an enrolling node available. */
export async function recordContact(db: Database, nodeId: string): Promise<void> {
  await db.q.execute(sql`
    update nodes set last_contact_at = gpuaas_now(),
      state = case when state in ('enrolling', 'offline') then 'available'::node_state else state end
    where id = ${nodeId}`);
}
