import { eq } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { posixIdentities, projects } from '../schema.ts';
import { defaultProjectId } from './personal.store.ts';
import { projectView, type ProjectView } from './project.views.ts';

export interface PersonalView {
  readonly default_project: ProjectView;
  readonly posix: { readonly username: string; readonly uid: number; readonly gid: number };
}

/** What the first login made; undefined for an unknown user. */
export async function getPersonalView(q: Queryable, userId: string): Promise<PersonalView | undefined> {
  const [row] = await q
    .select({ posix: posixIdentities, project: projects })
    .from(posixIdentities)
    .innerJoin(projects, eq(projects.id, defaultProjectId(userId)))
    .where(eq(posixIdentities.userId, userId));
  if (row === undefined) return undefined;
  const { username, uid, gid } = row.posix;
  return { default_project: projectView(row.project), posix: { username, uid, gid } };
}
