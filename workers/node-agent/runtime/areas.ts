import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { permanent, unlessMissing } from '../failure.ts';
import type { NodeRuntime } from './runtime.ts';

/** Where a tenant can leave data. The name is what findings say: a home's path holds a person's name. */
export interface Area {
  readonly name: 'home' | 'scratch' | 'storage';
  readonly path: string;
}

/** Ids that tenants get; nothing below or above is ever a tenant. */
export const tenantIds = { min: 10_000, max: 199_999 } as const;

export const homeOf = (username: string): string => `/home/${username}`;

/** The areas of one allocation; without the home when its user is not known. */
export function areasOf(allocationId: string, username: string | undefined): Area[] {
  const areas: Area[] = [
    { name: 'scratch', path: `/scratch/${allocationId}` },
    { name: 'storage', path: `/mnt/gpuaas/${allocationId}` },
  ];
  return username === undefined ? areas : [{ name: 'home', path: homeOf(username) }, ...areas];
}

/** The roots of all tenants' areas. */
export const areaRoots = ['/home', '/scratch', '/mnt/gpuaas'] as const;

export const isWithin = (inner: string, outer: string): boolean =>
  inner === outer || inner.startsWith(`${outer}/`);

const refused = (why: string) => permanent('path_refused', `a path was refused: ${why}`);

/**
 * The path without a slash at its end.
 * @throws TaskFailure `path_refused` for what is not absolute or not in plain form (`..`, `//`).
 */
export function plainPath(given: string): string {
  const plain = given.length > 1 && given.endsWith('/') ? given.slice(0, -1) : given;
  if (!plain.startsWith('/') || plain.includes('\0')) throw refused('it is not absolute');
  if (path.posix.normalize(plain) !== plain) throw refused('it is not in plain form');
  return plain;
}

/**
 * Finds the area that a path lies in.
 * @throws TaskFailure `path_refused` for what is not a plain absolute path, lies outside or leads through a link.
 */
export async function resolveInside(
  runtime: NodeRuntime,
  areas: readonly Area[],
  given: string,
): Promise<Area> {
  const plain = plainPath(given);
  const area = areas.find((candidate) => isWithin(plain, candidate.path));
  if (area === undefined) throw refused("it lies outside the allocation's areas");
  await assertNoLinks(runtime, area, plain);
  return { name: area.name, path: plain };
}

/** A link anywhere from the area down could lead out of it. */
async function assertNoLinks(runtime: NodeRuntime, area: Area, target: string): Promise<void> {
  const below = target.slice(area.path.length).split('/').filter(Boolean);
  let at = area.path;
  for (const part of [undefined, ...below]) {
    if (part !== undefined) at = `${at}/${part}`;
    const found = await unlessMissing(lstat(runtime.hostPath(at)), undefined);
    if (found === undefined) return;
    if (found.isSymbolicLink()) throw refused('it leads through a link');
  }
}
