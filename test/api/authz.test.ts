/**
 * Who may call what: every endpoint × every kind of caller, held against `test/golden/authz.json`. Objects belong to the
 * user, and every call is one that succeeds for whoever may make it: `allowed` is a 2xx answer and nothing else.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import sshpk from 'sshpk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { asId, dlqReplayWorkflowId, type DlqReplayId } from '../../contracts/ids.ts';
import { uuid5 } from '../../contracts/uuid5.ts';
import { createNotifier } from '../../db/ops/notification.store.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { field, startTimeoutMs, type ApiAnswer, type ApiHarness, type DevUser } from '../harness/api.ts';
import { startLab, subjectOf, type Lab } from '../harness/lab.ts';
import { plantLetters } from '../ops/letters.ts';

/** `allowed`, the status of a refusal, or what else came. */
type Outcome = 401 | 403 | 404 | string;
type Row = Readonly<Record<string, Outcome>>;
const golden = JSON.parse(readFileSync(new URL('../golden/authz.json', import.meta.url), 'utf8')) as Record<
  string,
  Row
>;

const people: Readonly<Record<string, DevUser>> = {
  user: 'dev-user',
  peer: 'peer-user',
  other: 'other-user',
  admin: 'dev-admin',
};
/** What the one node with an agent offers: free until an allocation is created. */
const sku = 'authz';

let lab: Lab;
let h: ApiHarness;
const ids: Record<string, string> = {};
/** Lets replays end that were kept from it. */
const held: (() => void)[] = [];
const secrets: Record<string, string> = {};

beforeAll(async () => {
  lab = await startLab({ nodes: [sku] });
  h = lab.api;
  for (const as of Object.values(people)) await h.request('GET', '/api/v1/auth/personal', { as });
  for (const name of ['node', 'other_node']) {
    const body = { name: name.replace('_', '-'), sku: 'h100-8x', ssh_host: 'localhost' };
    const made = await h.request('POST', '/api/v1/admin/nodes', { as: 'dev-admin', body });
    ids[name] = String(field(made, 'id'));
    secrets[name] = String(field(made, 'agent_secret'));
  }
  ids['replay'] = await runningReplay();
}, startTimeoutMs);
afterAll(async () => {
  for (const letGo of held) letGo();
  // A worker that is told to stop with that call still in its hands would stop by force.
  const replay = ids['replay'];
  if (replay !== undefined) {
    await lab.temporal.workflow.getHandle(dlqReplayWorkflowId(asId<DlqReplayId>(replay))).result();
  }
  await lab?.stop();
}, startTimeoutMs);

/** Nobody listens here. */
const notifier = createNotifier(() => Promise.resolve());

type Ids = Readonly<Record<string, string>>;

/** A replay that does not end by itself before it is cancelled. */
async function runningReplay(): Promise<string> {
  const [id, operationId] = [randomUUID(), randomUUID()];
  const end = { activity: 'transitionDlqReplay', label: 'finished' } as const;
  held.push(lab.faults.hold(id, end).letGo);
  await h.db.q.execute(sql`
    insert into operations (id, caller, route, key, body_hash, kind, org_id, entity_id, request, state, outcome, correlation_id,
      created_at, decided_at)
    values (${operationId}::uuid, ${subjectOf('dev-admin')}::uuid, 'adminCreateDlqReplay', ${operationId}::text, 'h',
      'dlq_replay.create',
      (select org_id from users where id = ${subjectOf('dev-admin')}::uuid), ${id}::uuid, '{}', 'accepted', '{"kind":"accepted","state":"running"}', 'c', gpuaas_now(),
      gpuaas_now())`);
  await h.db.q.execute(sql`
    insert into dlq_replays (id, state, version, filter, dry_run, through_seq, after_seq, matched, replayed, skipped,
      requested_by, requested_role, reason, create_operation_id, correlation_id, created_at, state_since)
    values (${id}::uuid, 'running', 1, '{"subject":"none"}', false, 0, 0, 0, 0, 0, ${subjectOf('dev-admin')}::uuid, 'admin', 'r',
      ${operationId}::uuid, 'c', gpuaas_now(), gpuaas_now())`);
  return id;
}

/** Fresh objects of a person for each call, so that no call changes what the next one finds. */
async function freshIds(as: DevUser, state: 'active' | 'released' = 'released'): Promise<Ids> {
  const project = await h.request('POST', '/api/v1/projects', { as, body: { name: `p-${randomUUID()}` } });
  const projectId = String(field(project, 'id'));
  const [allocationId, operationId, keyId, taskId] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const { owner_user_id: by, org_id: org } = project.body as { owner_user_id: string; org_id: string };
  await h.db.q.execute(sql`
    insert into allocations (id, org_id, project_id, user_id, sku, scheduler_type, state, version, node_id,
      create_operation_id, correlation_id, who_can_unblock, created_at, state_since, active_at, released_at)
    values (${allocationId}::uuid, ${org}::uuid, ${projectId}::uuid, ${by}::uuid, 'h100-8x', 'bare_metal', ${state}, 1,
      ${ids['node']}::uuid, ${operationId}::uuid, 'c', 'nobody', gpuaas_now(), gpuaas_now(), gpuaas_now(),
      ${state === 'released' ? sql`gpuaas_now()` : null})`);
  await h.db.q.execute(sql`
    insert into operations (id, caller, route, key, body_hash, kind, org_id, entity_id, request, state, outcome,
      correlation_id, created_at, decided_at)
    values (${operationId}::uuid, ${by}::uuid, 'createAllocation', ${operationId}::text, 'h', 'allocation.create', ${org}::uuid,
      ${allocationId}::uuid, '{}', 'accepted', '{"kind":"accepted","state":"requested"}', 'c', gpuaas_now(), gpuaas_now())`);
  await h.db.q.execute(sql`
    insert into ssh_keys (id, user_id, name, type, fingerprint, public_key, created_at)
    values (${keyId}::uuid, ${by}::uuid, 'k', 'ssh-ed25519', ${keyId}::text, 'ssh-ed25519 A', gpuaas_now())`);
  await h.db.q.execute(sql`
    insert into node_tasks (id, node_id, allocation_id, kind, state, params, fence, workflow_id, run_id, activity_id, attempt,
      correlation_id, created_at, expires_at)
    values (${taskId}::uuid, ${ids['node']}::uuid, ${allocationId}::uuid, 'node.validate_clean', 'offered',
      ${JSON.stringify({ checks: ['mounts'], reason: 'test' })}::jsonb, 1,
      ${`allocation-${allocationId}`}, ${taskId}, '1', 1, 'c', gpuaas_now(), gpuaas_now() + interval '1 hour')`);
  const eventId = randomUUID();
  const told = {
    subject: 's',
    severity: 'info',
    type: 'info',
    title: 't',
    message: 'm',
    actionUrl: null,
  } as const;
  await h.db.tx((tx) => notifier.notify(tx, [{ ...told, recipient: by, eventId, occurredAt: new Date() }]));
  return {
    dead_letter_id: (await plantLetters(h.db, 'trial.authz', 1))[0] ?? '',
    dlq_replay_id: ids['replay'] ?? '',
    notification_id: uuid5('notification', eventId, by),
    project_id: projectId,
    allocation_id: allocationId,
    operation_id: operationId,
    ssh_key_id: keyId,
    user_id: subjectOf('peer-user'),
    policy_key: 'maas.enabled',
    node_id: ids['node'] ?? '',
    task_id: taskId,
  };
}

function publicKey(): string {
  const spki = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
  return sshpk.parseKey(spki, 'pem').toString('ssh');
}

async function refreshTokenOf(username: DevUser): Promise<string> {
  const password = REALM.users.find((one) => one.username === username)?.password ?? '';
  const client = { client_id: REALM.client.id, client_secret: REALM.client.secret };
  const answer = await fetch(`${h.issuer().issuerUrl}/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'password', username, password, ...client }),
  });
  return String(((await answer.json()) as { refresh_token?: string }).refresh_token);
}

const bodies: Readonly<Record<string, (at: Ids) => unknown>> = {
  createProject: () => ({ name: `p-${randomUUID()}` }),
  updateProject: () => ({ display_name: 'x' }),
  createSshKey: () => ({ name: 'k', public_key: publicKey() }),
  createAllocation: (at) => ({ project_id: at['project_id'], sku }),
  refreshToken: async () => ({ refresh_token: await refreshTokenOf('solo-user') }),
  adminForceReleaseAllocation: () => ({ reason: 'test' }),
  adminReplayDeadLetter: () => ({ reason: 'test' }),
  adminDiscardDeadLetter: () => ({ reason: 'test' }),
  adminCreateDlqReplay: () => ({ filter: { subject: 'none' }, dry_run: true, reason: 'test' }),
  adminCancelDlqReplay: () => ({ reason: 'test' }),
  adminRegisterNode: () => ({ name: `n-${randomUUID()}`, sku: 'h100-8x', ssh_host: 'localhost' }),
  readAllNotifications: (at) => ({ through_id: at['notification_id'] }),
  adminSetPolicy: () => ({ value: false }),
  postTaskResult: () => ({ fence: 1, outcome: 'cancelled' }),
};
const needActive = new Set(['releaseAllocation', 'adminForceReleaseAllocation']);

async function answerTo(one: Endpoint, caller: string): Promise<ApiAnswer> {
  const at = await freshIds('dev-user', needActive.has(one.id) ? 'active' : 'released');
  if (one.id === 'removeProjectMember') {
    // Somebody who can be removed.
    await h.request('PUT', `/api/v1/projects/${at['project_id']}/members/${at['user_id']}`, {
      as: 'dev-user',
    });
  }
  const path = one.path.replace(/\{([a-z_]+)\}/g, (_whole, name: string) => at[name] ?? '');
  const method = one.method.toUpperCase();
  const body = await bodies[one.id]?.(at);
  const person = people[caller];
  const token = person === undefined ? secrets[caller] : await h.token(person);
  const sent = { ...(body === undefined ? {} : { body }), ...(token === undefined ? {} : { token }) };
  if (one.listener === 'public') return h.request(method, path, sent);
  return h.internal(method, one.id === 'waitForTasks' ? `${path}?hold_seconds=0` : path, sent);
}

/** Anything that is neither a success nor a refusal for who the caller is says what it was. */
function outcomeOf(answer: ApiAnswer): Outcome {
  const { status } = answer;
  if (status >= 200 && status < 300) return 'allowed';
  return status === 401 || status === 403 || status === 404
    ? status
    : `${status} ${String(field(answer, 'code'))}`;
}

describe('authorisation', () => {
  it('has a row for every endpoint and no other', () => {
    expect(Object.keys(golden).sort()).toEqual(endpoints.map((one) => one.id).sort());
  });

  it.each(endpoints.map((one) => [one.id, one] as const))('%s', async (id, one) => {
    const callers = [
      'anonymous',
      ...Object.keys(people),
      ...(one.auth === 'node' ? ['node', 'other_node'] : []),
    ];
    const found: Record<string, Outcome> = {};
    for (const caller of callers) found[caller] = outcomeOf(await answerTo(one, caller));
    expect(found).toEqual(golden[id] ?? {});
  });
});

/** Every row of a list, page by page. */
async function allOf(path: string, as: DevUser): Promise<Readonly<Record<string, unknown>>[]> {
  const rows: Record<string, unknown>[] = [];
  for (let cursor: unknown = ''; cursor !== null;) {
    const more = cursor === '' ? '' : `&cursor=${String(cursor)}`;
    const page = await h.request('GET', `${path}?limit=100${more}`, { as });
    expect(page.status).toBe(200);
    rows.push(...(field(page, 'items') as Record<string, unknown>[]));
    cursor = field(page, 'next_cursor');
  }
  return rows;
}

const idsOf = (rows: readonly Readonly<Record<string, unknown>>[]): string[] =>
  rows.map((row) => String(row['id'])).sort();

async function stored(query: ReturnType<typeof sql>): Promise<string[]> {
  const found = await h.db.q.execute<{ id: string }>(query);
  return found.rows.map((row) => row.id).sort();
}

describe('a list', () => {
  beforeAll(async () => {
    for (const as of Object.values(people)) await freshIds(as);
    const shared = await freshIds('dev-user');
    await h.request('PUT', `/api/v1/projects/${shared['project_id']}/members/${subjectOf('peer-user')}`, {
      as: 'dev-user',
    });
  });

  // prettier-ignore
  const lists = [
    ['/api/v1/projects',    (by: string) => sql`select project_id as id from project_members where user_id = ${by}::uuid`],
    ['/api/v1/ssh-keys',    (by: string) => sql`select id from ssh_keys where user_id = ${by}::uuid`],
    ['/api/v1/allocations', (by: string) => sql`select a.id from allocations a
      join project_members m on m.project_id = a.project_id and m.user_id = ${by}::uuid`],
  ] as const;
  const cases = lists.flatMap(([path, visible]) =>
    Object.values(people).map((as) => [path, as, visible] as const),
  );

  it.each(cases)('%s shows %s every row they may see and no other', async (path, as, visible) => {
    const expected = await stored(visible(subjectOf(as)));
    expect(expected).not.toEqual([]);
    expect(idsOf(await allOf(path, as))).toEqual(expected);
  });

  it('of another organisation never has a row of this one', async () => {
    const orgs = async (path: string, as: DevUser) =>
      new Set((await allOf(path, as)).map((row) => row['org_id']));
    for (const path of ['/api/v1/projects', '/api/v1/allocations']) {
      const [ours, theirs] = [await orgs(path, 'dev-user'), await orgs(path, 'other-user')];
      expect([ours.size, theirs.size]).toEqual([1, 1]);
      expect(theirs).not.toEqual(ours);
    }
  });

  it('of an admin has every organisation', async () => {
    const rows = await allOf('/api/v1/admin/allocations', 'dev-admin');
    expect(idsOf(rows)).toEqual(await stored(sql`select id from allocations`));
    expect(new Set(rows.map((row) => row['org_id'])).size).toBe(2);
  });
});
