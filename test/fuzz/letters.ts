/** Dead letters, replays and notifications that exist, for the fuzzer to name. */
import { connectNats } from '../../activities/platform/nats.ts';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { dataOf, newKey, type ApiClient } from '../../workers/local/api-client.ts';
import type { Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';

/** Two groups consume the subject: twice as many letters, more than one page of a replay. */
const poisonMessages = 60;
const consumerGroups = 2;
const deadlineMs = 60_000;
const pageLimit = 100;

/** What no consumer can read, straight into the stream, and the letters that become of it. */
async function buryPoison(platform: Platform, admin: ApiClient): Promise<string[]> {
  const nc = await connectNats({ url: platform.env['NATS_URL'] ?? '', name: 'fuzz' });
  const js = nc.jetstream();
  for (let index = 0; index < poisonMessages; index += 1) {
    await js.publish(provisioningFailed.subject, new TextEncoder().encode(`no json ${index}`));
  }
  await nc.close();
  let ids: string[] = [];
  const look = async (): Promise<boolean> => {
    ids = await letterIds(admin);
    return ids.length >= poisonMessages * consumerGroups;
  };
  await waitUntil(look, { deadlineMs, onTimeout: () => `only ${ids.length} letters were written down` });
  return ids;
}

async function letterIds(admin: ApiClient): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: pageLimit, ...(cursor === undefined ? {} : { cursor }) };
    const page = dataOf(
      'listing letters',
      await admin.GET('/api/v1/admin/dead-letters', { params: { query } }),
    );
    ids.push(...page.items.map(({ id }) => id));
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return ids;
}

/** @returns values of the dictionaries `dead_letter`, `discardable`, `dlq_replay` and `notification`. */
export async function makeLetters(
  platform: Platform,
  admin: ApiClient,
): Promise<Record<'dead_letter' | 'discardable' | 'dlq_replay' | 'notification', string[]>> {
  const letters = await buryPoison(platform, admin);
  const tried = await admin.POST('/api/v1/admin/dlq-replays', {
    params: { header: newKey() },
    body: { filter: {}, dry_run: true, reason: 'fuzz' },
  });
  const { items } = dataOf('listing notifications', await admin.GET('/api/v1/notifications'));
  const half = letters.length / 2;
  return {
    dead_letter: letters.slice(0, half),
    discardable: letters.slice(half),
    dlq_replay: [dataOf('trying a replay', tried).id],
    notification: items.map(({ id }) => id),
  };
}
