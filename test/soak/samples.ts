/** What a long run watches: memory, open files, data, and how they grow. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { sql } from 'drizzle-orm';
import type { Database } from '../../db/client.ts';
import type { Platform } from '../../workers/local/platform.ts';
import { memoryMibOf } from '../bench/machine.ts';

export interface Sample {
  /** Seconds since the start. */
  readonly at: number;
  readonly memoryMib: Readonly<Record<string, number>>;
  readonly openFiles: Readonly<Record<string, number>>;
  readonly databaseMib: number;
  readonly engineMib: number;
  readonly unpublishedRows: number;
}

const mebibyte = 1_048_576;

/** Processes by name; one that does not run right now has no pid. */
export const soakPids = (
  platform: Platform,
  fleetPid: number | undefined,
): Record<string, number | undefined> => ({
  temporal: platform.stack.parts.temporal.pid(),
  postgres: platform.stack.parts.postgres.pid(),
  nats: platform.stack.parts.nats.pid(),
  redis: platform.stack.parts.redis.pid(),
  api: platform.services.api.pid(),
  worker: platform.services.worker.pid(),
  relay: platform.services.relay.pid(),
  consumers: platform.services.consumers.pid(),
  agents: fleetPid,
});

function openFilesOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

function folderMib(dir: string): number {
  const sizes = readdirSync(dir, { withFileTypes: true }).map((entry) => {
    const file = path.join(dir, entry.name);
    return entry.isDirectory() ? folderMib(file) : statSync(file).size / mebibyte;
  });
  return sizes.reduce((sum, one) => sum + one, 0);
}

/** Reads everything once. */
export async function takeSample(
  platform: Platform,
  db: Database,
  pids: Readonly<Record<string, number | undefined>>,
  at: number,
): Promise<Sample> {
  const running = Object.entries(pids).filter((entry): entry is [string, number] => entry[1] !== undefined);
  const read = await db.q.execute<{ bytes: string; unpublished: string }>(sql`
    select pg_database_size(current_database()) as bytes,
      (select count(*) from outbox where published_at is null) as unpublished`);
  return {
    at,
    memoryMib: Object.fromEntries(running.map(([name, pid]) => [name, memoryMibOf(pid)])),
    openFiles: Object.fromEntries(running.map(([name, pid]) => [name, openFilesOf(pid)])),
    databaseMib: Number(read.rows[0]?.bytes ?? 0) / mebibyte,
    engineMib: folderMib(path.join(platform.stack.stateDir, 'temporal')),
    unpublishedRows: Number(read.rows[0]?.unpublished ?? 0),
  };
}

/** Growth per hour by least squares; NaN for fewer than two points. */
export function growthPerHour(points: readonly (readonly [seconds: number, value: number])[]): number {
  const count = points.length;
  const mean = (pick: 0 | 1): number => points.reduce((sum, point) => sum + point[pick], 0) / count;
  const [meanAt, meanValue] = [mean(0), mean(1)];
  const covariance = points.reduce((sum, [at, value]) => sum + (at - meanAt) * (value - meanValue), 0);
  const variance = points.reduce((sum, [at]) => sum + (at - meanAt) ** 2, 0);
  return count < 2 ? NaN : (covariance / variance) * 3600;
}
