import { randomUUID } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import { CodedError } from '../../contracts/errors.ts';
import { violatedConstraint, type Tx } from '../client.ts';
import { now } from '../clock.ts';
import { projectMembers, projects, users } from '../schema.ts';
import {
  memberView,
  projectView,
  type MemberView,
  type ProjectRow,
  type ProjectView,
  type Viewer,
} from './project.views.ts';

/**
 * Makes a project owned by the viewer.
 * @throws CodedError project_already_exists.
 */
export async function insertProject(
  tx: Tx,
  viewer: Viewer,
  project: { readonly name: string; readonly displayName: string },
): Promise<ProjectView> {
  const row = {
    id: randomUUID(),
    orgId: viewer.orgId,
    ownerUserId: viewer.userId,
    createdAt: now,
    updatedAt: now,
  };
  try {
    const [made] = await tx
      .insert(projects)
      .values({ ...row, ...project })
      .returning();
    if (made === undefined) throw new Error('the project was not written');
    await tx
      .insert(projectMembers)
      .values({ projectId: made.id, userId: viewer.userId, role: 'owner', addedAt: now });
    return projectView(made);
  } catch (error) {
    if (violatedConstraint(error) === 'projects_org_id_name') throw new CodedError('project_already_exists');
    throw error;
  }
}

/**
 * Locks a project for a change by its owner.
 * @throws CodedError project_not_found (another organisation's too) or ownership_required.
 */
export async function lockOwnProject(tx: Tx, viewer: Viewer, id: string): Promise<ProjectRow> {
  const [row] = await tx
    .select()
    .from(projects)
    .where(and(eq(projects.id, id), eq(projects.orgId, viewer.orgId)))
    .for('update');
  if (row === undefined) throw new CodedError('project_not_found');
  if (row.ownerUserId !== viewer.userId) throw new CodedError('ownership_required');
  return row;
}

/** Changes the display name of a locked project. */
export async function renameProject(tx: Tx, id: string, displayName: string): Promise<ProjectView> {
  const [row] = await tx
    .update(projects)
    .set({ displayName, updatedAt: now })
    .where(eq(projects.id, id))
    .returning();
  if (row === undefined) throw new CodedError('project_not_found');
  return projectView(row);
}

/**
 * Adds a user of the project's organisation to a locked project; a member stays what they are.
 * @throws CodedError user_not_found.
 */
export async function addMember(tx: Tx, project: ProjectRow, userId: string): Promise<MemberView> {
  const [user] = await tx
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.id, userId), eq(users.orgId, project.orgId)));
  if (user === undefined) throw new CodedError('user_not_found');
  await tx
    .insert(projectMembers)
    .values({ projectId: project.id, userId, role: 'member', addedAt: now })
    .onConflictDoNothing();
  const [member] = await tx
    .select()
    .from(projectMembers)
    .where(and(eq(projectMembers.projectId, project.id), eq(projectMembers.userId, userId)));
  if (member === undefined) throw new Error('the member was not written');
  return memberView(member);
}

/**
 * Removes a member from a locked project.
 * @throws CodedError user_not_found, or ownership_required for the owner.
 */
export async function removeMember(tx: Tx, project: ProjectRow, userId: string): Promise<void> {
  if (userId === project.ownerUserId) {
    throw new CodedError('ownership_required', { message: 'The owner cannot be removed.' });
  }
  const gone = await tx
    .delete(projectMembers)
    .where(and(eq(projectMembers.projectId, project.id), eq(projectMembers.userId, userId)))
    .returning();
  if (gone.length === 0) throw new CodedError('user_not_found');
}
