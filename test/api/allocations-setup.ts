/** What a client of the allocation endpoints does again and again. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { uuid5 } from '../../contracts/uuid5.ts';
import { field, type ApiAnswer, type DevUser } from '../harness/api.ts';
import { allocationIdOf, subjectOf, until, type Lab } from '../harness/lab.ts';

export interface Wish {
  readonly as: DevUser;
  readonly projectId: string;
  /** Idempotency key; a fresh one when absent. */
  readonly key?: string;
  /** Further fields of the body. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** Asks for an allocation with one key until there is a decision. */
export async function createDecided(
  lab: Lab,
  sku: string,
  { as, projectId, key = randomUUID(), more = {} }: Wish,
): Promise<ApiAnswer & { readonly id: string; readonly key: string }> {
  const body = { project_id: projectId, sku, ...more };
  const ask = () => lab.request('POST', '/api/v1/allocations', { as, key, body });
  let answer = await ask();
  await until(`a decision about ${sku}`, async () => {
    if (answer.status === 202 || answer.status === 503) answer = await ask();
    return answer.status !== 202 && answer.status !== 503;
  });
  return { ...answer, id: allocationIdOf(as, key), key };
}

/** The id of the operation that a user's key opens on a route. */
export const operationIdOf = (user: DevUser, route: string, key: string): string =>
  uuid5('operation', subjectOf(user), route, key);

/** Every item of a list, walked with a page size; each page but the last is full. */
export async function walkPages<T>(lab: Lab, path: string, limit: number, as: DevUser): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: unknown = undefined; cursor !== null;) {
    const more = cursor === undefined ? '' : `&cursor=${String(cursor)}`;
    const separator = path.includes('?') ? '&' : '?';
    const page = await lab.request('GET', `${path}${separator}limit=${limit}${more}`, { as });
    expect(page.status).toBe(200);
    const items = field(page, 'items') as T[];
    cursor = field(page, 'next_cursor');
    if (cursor !== null) expect(items).toHaveLength(limit);
    all.push(...items);
  }
  return all;
}
