import { z } from 'zod';
import { endpoint, instantSchema, lineOfText, pageOf, pageQuery, uuidParam } from '../http.api.ts';

const projectName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
  .meta({ description: 'Unique within the organisation.' });
/** Names that first logins give, `default-` and a user id, are reserved. */
const newProjectName = z
  .string()
  .regex(/^(?!default-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
  .meta({ description: 'Unique within the organisation; `default-` and an id is reserved.' });
const displayName = lineOfText(100);

export const projectSchema = z
  .strictObject({
    id: z.uuid(),
    org_id: z.uuid(),
    name: projectName,
    display_name: z.string(),
    owner_user_id: z.uuid(),
    created_at: instantSchema,
    updated_at: instantSchema,
  })
  .meta({ id: 'Project' });

const memberSchema = z
  .strictObject({ user_id: z.uuid(), role: z.enum(['owner', 'member']), added_at: instantSchema })
  .meta({ id: 'ProjectMember' });

const one = uuidParam('project_id');
const shared = { listener: 'public', tag: 'projects', auth: 'user', rate: 'api' } as const;

export const createProject = endpoint({
  ...shared,
  id: 'createProject',
  method: 'post',
  path: '/api/v1/projects',
  summary: 'Create a project; you become its owner',
  idempotent: true,
  params: undefined,
  query: undefined,
  body: z
    .strictObject({ name: newProjectName, display_name: displayName.optional() })
    .meta({ id: 'ProjectCreate' }),
  responses: { 201: { description: 'Created.', schema: projectSchema } },
  errors: ['project_already_exists', 'idempotency_key_reused'],
});

export const listProjects = endpoint({
  ...shared,
  id: 'listProjects',
  method: 'get',
  path: '/api/v1/projects',
  summary: 'The projects you are a member of, by name',
  idempotent: false,
  params: undefined,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('ProjectPage', projectSchema) } },
  errors: [],
});

export const getProject = endpoint({
  ...shared,
  id: 'getProject',
  method: 'get',
  path: '/api/v1/projects/{project_id}',
  summary: 'One project',
  idempotent: false,
  params: one,
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The project.', schema: projectSchema } },
  errors: ['project_not_found', 'ownership_required'],
});

export const updateProject = endpoint({
  ...shared,
  id: 'updateProject',
  method: 'patch',
  path: '/api/v1/projects/{project_id}',
  summary: 'Change the display name (owner)',
  idempotent: true,
  params: one,
  query: undefined,
  body: z.strictObject({ display_name: displayName }).meta({ id: 'ProjectUpdate' }),
  responses: { 200: { description: 'The project as it is now.', schema: projectSchema } },
  errors: ['project_not_found', 'ownership_required', 'idempotency_key_reused'],
});

export const listProjectMembers = endpoint({
  ...shared,
  id: 'listProjectMembers',
  method: 'get',
  path: '/api/v1/projects/{project_id}/members',
  summary: 'The members of a project',
  idempotent: false,
  params: one,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('ProjectMemberPage', memberSchema) } },
  errors: ['project_not_found', 'ownership_required'],
});

export const addProjectMember = endpoint({
  ...shared,
  id: 'addProjectMember',
  method: 'put',
  path: '/api/v1/projects/{project_id}/members/{user_id}',
  summary: 'Add a user of the same organisation (owner); a repeat changes nothing',
  idempotent: true,
  params: z.object({ project_id: z.uuid(), user_id: z.uuid() }),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The member.', schema: memberSchema } },
  errors: ['project_not_found', 'user_not_found', 'ownership_required', 'idempotency_key_reused'],
});

export const removeProjectMember = endpoint({
  ...shared,
  id: 'removeProjectMember',
  method: 'delete',
  path: '/api/v1/projects/{project_id}/members/{user_id}',
  summary: 'Remove a member (owner); the owner cannot be removed',
  idempotent: true,
  params: z.object({ project_id: z.uuid(), user_id: z.uuid() }),
  query: undefined,
  body: undefined,
  responses: { 204: { description: 'Removed.', schema: null } },
  errors: ['project_not_found', 'user_not_found', 'ownership_required', 'idempotency_key_reused'],
});

export const projectEndpoints = [
  createProject,
  listProjects,
  getProject,
  updateProject,
  listProjectMembers,
  addProjectMember,
  removeProjectMember,
] as const;
