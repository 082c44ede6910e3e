import { CodedError } from '../../contracts/errors.ts';
import {
  addProjectMember,
  createProject,
  getProject,
  listProjectMembers,
  listProjects,
  removeProjectMember,
  updateProject,
} from '../../contracts/identity/project.api.ts';
import {
  addMember,
  insertProject,
  lockOwnProject,
  removeMember,
  renameProject,
} from '../../db/identity/project.store.ts';
import {
  getProjectView,
  isProjectOfOrg,
  listMemberViews,
  listProjectViews,
} from '../../db/identity/project.views.ts';
import type { ApiDeps } from '../deps.ts';
import { once } from '../idempotency.ts';
import { pageAnswer, readCursor } from '../paging.ts';
import { route, type Caller, type Route } from '../route.ts';

/**
 * Projects. A project is seen by its members; changed by its owner. Everybody else of the organisation is refused (403),
 * for other organisations it does not exist (404).
 */
export function projectRoutes(deps: ApiDeps): Route[] {
  return [...reads(deps), ...changes(deps), ...memberships(deps)];
}

function reads(deps: ApiDeps): Route[] {
  const { q } = deps.db;
  return [
    route(listProjects, async ({ caller, query }) => {
      const [afterName] = readCursor(query.cursor, ['text']) ?? [];
      const items = await listProjectViews(q, caller, afterName, query.limit);
      return pageAnswer(items, query.limit, (item) => [item.name]);
    }),
    route(getProject, async ({ caller, params }) => ({
      status: 200,
      body: await visible(deps, caller, params.project_id),
    })),
    route(listProjectMembers, async ({ caller, params, query }) => {
      await visible(deps, caller, params.project_id);
      const position = readCursor(query.cursor, ['instant', 'uuid']);
      const after = position && { addedAt: position[0], userId: position[1] };
      const items = await listMemberViews(q, params.project_id, after, query.limit);
      return pageAnswer(items, query.limit, (item) => [new Date(item.added_at), item.user_id]);
    }),
  ];
}

async function visible(deps: ApiDeps, caller: Caller, id: string) {
  const project = await getProjectView(deps.db.q, caller, id);
  if (project !== undefined) return project;
  const hidden = await isProjectOfOrg(deps.db.q, caller, id);
  throw new CodedError(hidden ? 'ownership_required' : 'project_not_found');
}

function changes(deps: ApiDeps): Route[] {
  return [
    route(createProject, async (request) => {
      const { caller, body } = request;
      const { status, body: project } = await once(deps, createProject, request, async (tx) => {
        const made = await insertProject(tx, caller, {
          name: body.name,
          displayName: body.display_name ?? body.name,
        });
        return { status: 201, body: { ...made } };
      });
      return { status, body: project, headers: { Location: `/api/v1/projects/${String(project?.['id'])}` } };
    }),
    route(updateProject, (request) =>
      once(deps, updateProject, request, async (tx) => {
        const project = await lockOwnProject(tx, request.caller, request.params.project_id);
        return { status: 200, body: { ...(await renameProject(tx, project.id, request.body.display_name)) } };
      }),
    ),
  ];
}

function memberships(deps: ApiDeps): Route[] {
  return [
    route(addProjectMember, (request) =>
      once(deps, addProjectMember, request, async (tx) => {
        const project = await lockOwnProject(tx, request.caller, request.params.project_id);
        return { status: 200, body: { ...(await addMember(tx, project, request.params.user_id)) } };
      }),
    ),
    route(removeProjectMember, (request) =>
      once(deps, removeProjectMember, request, async (tx) => {
        const project = await lockOwnProject(tx, request.caller, request.params.project_id);
        await removeMember(tx, project, request.params.user_id);
        return { status: 204, body: null };
      }),
    ),
  ];
}
