/**
 * Who may call what: every endpoint × every kind of caller, held against `test/golden/authz.json`. Objects belong to the
 * user; `allowed` means that nothing was refused for who the caller is, whatever the answer.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpoints } from '../../contracts/endpoints.api.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { field, startApiHarness, startTimeoutMs, type ApiHarness, type DevUser } from '../harness/api.ts';

type Outcome = 'allowed' | 401 | 403 | 404;
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

let h: ApiHarness;
const ids: Record<string, string> = {};
const secrets: Record<string, string> = {};

beforeAll(async () => {
  h = await startApiHarness();
  for (const as of Object.values(people)) await h.request('GET', '/api/v1/auth/personal', { as });
  for (const name of ['node', 'other_node']) {
    const body = { name: name.replace('_', '-'), sku: 'h100-8x', ssh_host: 'localhost' };
    const made = await h.request('POST', '/api/v1/admin/nodes', { as: 'dev-admin', body });
    ids[name] = String(field(made, 'id'));
    secrets[name] = String(field(made, 'agent_secret'));
  }
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const userId = (as: DevUser): string => REALM.users.find((one) => one.username === as)?.sub ?? '';

/** A fresh object of the user for each call, so that no call changes what the next one finds. */
async function freshIds(): Promise<Record<string, string>> {
  const project = await h.request('POST', '/api/v1/projects', {
    token: await owner(),
    body: { name: `p-${randomUUID()}` },
  });
  const projectId = String(field(project, 'id'));
  const [allocationId, operationId, keyId] = [randomUUID(), randomUUID(), randomUUID()];
  const { owner_user_id: by, org_id: org } = project.body as { owner_user_id: string; org_id: string };
  await h.db.q.execute(sql`
    insert into allocations (id, org_id, project_id, user_id, sku, scheduler_type, state, version, node_id,
      create_operation_id, correlation_id, who_can_unblock, created_at, state_since, released_at)
    values (${allocationId}::uuid, ${org}::uuid, ${projectId}::uuid, ${by}::uuid, 'h100-8x', 'bare_metal', 'released', 1,
      ${ids['node']}::uuid, ${operationId}::uuid, 'c', 'nobody', gpuaas_now(), gpuaas_now(), gpuaas_now())`);
  await h.db.q.execute(sql`
    insert into operations (id, caller, route, key, body_hash, kind, org_id, entity_id, request, state, outcome,
      correlation_id, created_at, decided_at)
    values (${operationId}::uuid, ${by}::uuid, 'createAllocation', ${operationId}::text, 'h', 'allocation.create', ${org}::uuid,
      ${allocationId}::uuid, '{}', 'accepted', '{"kind":"accepted","state":"requested"}', 'c', gpuaas_now(), gpuaas_now())`);
  await h.db.q.execute(sql`
    insert into ssh_keys (id, user_id, name, type, fingerprint, public_key, created_at)
    values (${keyId}::uuid, ${by}::uuid, 'k', 'ssh-ed25519', ${keyId}::text, 'ssh-ed25519 A', gpuaas_now())`);
  return {
    project_id: projectId,
    allocation_id: allocationId,
    operation_id: operationId,
    ssh_key_id: keyId,
    user_id: userId('peer-user'),
    policy_key: 'maas.enabled',
    node_id: ids['node'] ?? '',
    task_id: randomUUID(),
  };
}

const owner = (): Promise<string> => h.token('dev-user');

const bodies: Readonly<Record<string, (at: Record<string, string>) => unknown>> = {
  createProject: () => ({ name: `p-${randomUUID()}` }),
  updateProject: () => ({ display_name: 'x' }),
  createSshKey: () => ({ name: 'k', public_key: 'x' }),
  createAllocation: (at) => ({ project_id: at['project_id'], sku: 'h100-8x' }),
  adminForceReleaseAllocation: () => ({ reason: 'test' }),
  adminRegisterNode: () => ({ name: `n-${randomUUID()}`, sku: 'h100-8x', ssh_host: 'localhost' }),
  adminSetPolicy: () => ({ value: false }),
  postTaskResult: () => ({ fence: 1, outcome: 'cancelled' }),
};

async function outcomeOf(one: Endpoint, caller: string): Promise<Outcome> {
  const at = await freshIds();
  if (one.id === 'removeProjectMember') {
    // Somebody who can be removed.
    await h.request('PUT', `/api/v1/projects/${at['project_id']}/members/${at['user_id']}`, {
      token: await owner(),
    });
  }
  const path = one.path.replace(/\{([a-z_]+)\}/g, (_whole, name: string) => at[name] ?? '');
  const method = one.method.toUpperCase();
  const body = bodies[one.id]?.(at);
  const sent = body === undefined ? {} : { body };
  const person = people[caller];
  const token = person === undefined ? secrets[caller] : await h.token(person);
  const credential = token === undefined ? {} : { token };
  const answer =
    one.listener === 'internal'
      ? await h.internal(method, one.id === 'waitForTasks' ? `${path}?hold_seconds=0` : path, {
          ...sent,
          ...credential,
        })
      : await h.request(method, path, { ...sent, ...credential });
  const code = field(answer, 'code');
  // A missing task is found out after the node was let in.
  if (code === 'node_task_not_found') return 'allowed';
  return answer.status === 401 || answer.status === 403 || answer.status === 404 ? answer.status : 'allowed';
}

describe('authorisation', () => {
  it('has a row for every endpoint and no other', () => {
    expect(Object.keys(golden).sort()).toEqual(endpoints.map((one) => one.id).sort());
  });

  it.each(endpoints.map((one) => [one.id, one] as const))(
    '%s',
    async (id, one) => {
      // Many calls by few people: each endpoint starts with a fresh minute.
      const keys = await flushLimits();
      expect(keys).toBe('OK');
      const row = golden[id] ?? {};
      const callers = [
        'anonymous',
        ...Object.keys(people),
        ...(one.auth === 'node' ? ['node', 'other_node'] : []),
      ];
      const found: Record<string, Outcome> = {};
      for (const caller of callers) found[caller] = await outcomeOf(one, caller);
      expect(found).toEqual(row);
    },
    30_000,
  );
});

async function flushLimits(): Promise<string> {
  const redis = new Redis(h.config.redisUrl);
  try {
    return await redis.flushall();
  } finally {
    redis.disconnect();
  }
}
