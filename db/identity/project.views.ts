import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Queryable } from '../client.ts';
import { projectMembers, projects } from '../schema.ts';

export type ProjectRow = typeof projects.$inferSelect;

export interface ProjectView {
  readonly id: string;
  readonly org_id: string;
  readonly name: string;
  readonly display_name: string;
  readonly owner_user_id: string;
  readonly created_at: string;
  readonly updated_at: string;
}

export interface MemberView {
  readonly user_id: string;
  readonly role: 'owner' | 'member';
  readonly added_at: string;
}

export const projectView = (row: ProjectRow): ProjectView => ({
  id: row.id,
  org_id: row.orgId,
  name: row.name,
  display_name: row.displayName,
  owner_user_id: row.ownerUserId,
  created_at: row.createdAt.toISOString(),
  updated_at: row.updatedAt.toISOString(),
});

export const memberView = (row: typeof projectMembers.$inferSelect): MemberView => ({
  user_id: row.userId,
  role: row.role,
  added_at: row.addedAt.toISOString(),
});

/** Who asks. */
export interface Viewer {
  readonly userId: string;
  readonly orgId: string;
}

const membership = (viewer: Viewer) =>
  and(eq(projectMembers.projectId, projects.id), eq(projectMembers.userId, viewer.userId));

/** The viewer's projects by name, after `afterName`; one more than `limit` when there are more. */
export async function listProjectViews(
  q: Queryable,
  viewer: Viewer,
  afterName: string | undefined,
  limit: number,
): Promise<ProjectView[]> {
  const after = afterName === undefined ? undefined : gt(projects.name, afterName);
  const rows = await q
    .select({ project: projects })
    .from(projects)
    .innerJoin(projectMembers, membership(viewer))
    .where(and(eq(projects.orgId, viewer.orgId), after))
    .orderBy(asc(projects.name))
    .limit(limit + 1);
  return rows.map((row) => projectView(row.project));
}

/** A project that the viewer is a member of. */
export async function getProjectView(
  q: Queryable,
  viewer: Viewer,
  id: string,
): Promise<ProjectView | undefined> {
  const [row] = await q
    .select({ project: projects })
    .from(projects)
    .innerJoin(projectMembers, membership(viewer))
    .where(and(eq(projects.orgId, viewer.orgId), eq(projects.id, id)));
  return row === undefined ? undefined : projectView(row.project);
}

/** Whether a project of this id is the viewer's organisation's, whoever its members are. */
export async function isProjectOfOrg(q: Queryable, viewer: Viewer, id: string): Promise<boolean> {
  const [row] = await q
    .select({ id: projects.id })
    .from(projects)
    .where(and(eq(projects.id, id), eq(projects.orgId, viewer.orgId)));
  return row !== undefined;
}

/** Members in the order in which they came; one more than `limit` when there are more. */
export async function listMemberViews(
  q: Queryable,
  projectId: string,
  after: { readonly addedAt: Date; readonly userId: string } | undefined,
  limit: number,
): Promise<MemberView[]> {
  const later =
    after === undefined
      ? undefined
      : sql`(${projectMembers.addedAt}, ${projectMembers.userId}) > (${after.addedAt.toISOString()}::timestamptz, ${after.userId}::uuid)`;
  const rows = await q
    .select()
    .from(projectMembers)
    .where(and(eq(projectMembers.projectId, projectId), later))
    .orderBy(asc(projectMembers.addedAt), asc(projectMembers.userId))
    .limit(limit + 1);
  return rows.map(memberView);
}
