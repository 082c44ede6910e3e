/** The allocation endpoints, each by what it answers; nodes, worker and engine are real. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalHash } from '../../api/middleware/canonical.ts';
import { createAllocation, releaseAllocation } from '../../contracts/allocations/allocation.api.ts';
import { asId } from '../../contracts/ids.ts';
import { openOperation } from '../../db/ops/operation.store.ts';
import { field, startTimeoutMs, type DevUser } from '../harness/api.ts';
import { allocationIdOf, startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { createDecided, operationIdOf, walkPages, type Wish } from './allocations-setup.ts';

const racers = 5;
const racersAllowed = 2;
const nodes = [
  ...['shape', 'slurm', 'repeat', 'spelt', 'life', 'open', 'theirs'],
  ...Array.from({ length: 3 }, () => 'list'),
  ...Array.from({ length: racers }, () => 'race'),
];
/** On offer, and nobody has a node of it. */
const soldOut = 'a100-8x';

let lab: Lab;
const projects = new Map<DevUser, string>();
const projectOf = (user: DevUser): string => projects.get(user) ?? '';

beforeAll(async () => {
  lab = await startLab({ nodes });
  for (const as of ['dev-user', 'peer-user', 'other-user', 'solo-user', 'dev-admin'] as const) {
    const answer = await lab.request('GET', '/api/v1/auth/personal', { as });
    projects.set(as, (field(answer, 'default_project') as { id: string }).id);
  }
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

const create = (sku: string, { as = 'dev-user', ...wish }: Partial<Wish> = {}) =>
  createDecided(lab, sku, { as, projectId: projectOf(as), ...wish });
const walk = <T>(path: string, limit: number, as: DevUser = 'dev-user') => walkPages<T>(lab, path, limit, as);

async function createdActive(sku: string, wish: Partial<Wish> = {}): Promise<string> {
  const made = await create(sku, wish);
  expect(made.status).toBe(201);
  await lab.untilState(made.id, 'active');
  return made.id;
}

const get = (path: string, as: DevUser = 'dev-user') => lab.request('GET', path, { as });

async function newProject(...members: readonly DevUser[]): Promise<string> {
  const body = { name: `p-${randomUUID()}` };
  const made = await lab.request('POST', '/api/v1/projects', { as: 'dev-user', body });
  const id = String(field(made, 'id'));
  for (const member of members) {
    const at = `/api/v1/projects/${id}/members/${subjectOf(member)}`;
    expect((await lab.request('PUT', at, { as: 'dev-user' })).status).toBe(200);
  }
  return id;
}

interface Listed {
  readonly id: string;
  readonly org_id: string;
  readonly user_id: string;
  readonly node_id: string;
  readonly created_at: string;
}
const idsOf = (items: readonly { readonly id: string }[]): string[] => items.map((item) => item.id);

describe('createAllocation', () => {
  it('201: the allocation as it was placed, and where it is', async () => {
    const made = await create('shape');
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`/api/v1/allocations/${made.id}`);
    const nodeId = [...lab.nodes.values()].find((node) => node.sku === 'shape')?.id;
    expect(made.body).toEqual({
      id: made.id,
      org_id: expect.any(String),
      project_id: projectOf('dev-user'),
      user_id: subjectOf('dev-user'),
      sku: 'shape',
      scheduler_type: 'bare_metal',
      state: 'requested',
      node_id: nodeId,
      connection: null,
      waiting_on: expect.anything(),
      failure_reason: null,
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      state_since: field(made, 'created_at'),
      active_at: null,
      released_at: null,
    });
  });

  it('201 with another scheduler', async () => {
    const made = await create('slurm', { more: { scheduler_type: 'slurm' } });
    expect(made).toMatchObject({ status: 201, body: { scheduler_type: 'slurm' } });
    expect(await get(`/api/v1/allocations/${made.id}`)).toMatchObject({ body: { scheduler_type: 'slurm' } });
  });

  it('201 for a repeat, with the same body, however far the allocation has come', async () => {
    const made = await create('repeat');
    await lab.untilState(made.id, 'active');
    const again = await create('repeat', { key: made.key });
    expect([again.status, again.body]).toEqual([201, made.body]);
    expect(again.headers.get('location')).toBe(made.headers.get('location'));
  });

  it('201 for an id in capitals: it is told, kept and repeated in its one spelling', async () => {
    const projectId = projectOf('dev-user');
    const made = await create('spelt', { projectId: projectId.toUpperCase() });
    expect(made).toMatchObject({ status: 201, body: { project_id: projectId } });
    const again = await create('spelt', { projectId, key: made.key });
    expect([again.status, again.body]).toEqual([201, made.body]);
  });

  const good = () => ({ project_id: projectOf('dev-user'), sku: soldOut });
  // prettier-ignore
  it.each([
    ['an unknown field',     () => ({ ...good(), node_id: randomUUID() })],
    ['a bad SKU',            () => ({ ...good(), sku: 'Not A SKU' })],
    ['a bad project id',     () => ({ ...good(), project_id: 'mine' })],
    ['an unknown scheduler', () => ({ ...good(), scheduler_type: 'lsf' })],
    ['no SKU',               () => ({ project_id: projectOf('dev-user') })],
    ['no body',              () => undefined],
  ])('400 for %s', async (_what, body) => {
    const answer = await lab.request('POST', '/api/v1/allocations', { as: 'dev-user', body: body() });
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
  });

  it('400 without a key', async () => {
    const answer = await lab.request('POST', '/api/v1/allocations', {
      as: 'dev-user',
      body: good(),
      key: null,
    });
    expect(answer.status).toBe(400);
  });

  it('401 without a token', async () => {
    const answer = await lab.request('POST', '/api/v1/allocations', { body: good() });
    expect(answer).toMatchObject({ status: 401, body: { code: 'token_missing' } });
  });

  it('404 sku_not_found, for an unknown one and one that is no longer on offer', async () => {
    expect(await create('unheard-of')).toMatchObject({ status: 404, body: { code: 'sku_not_found' } });
    await lab.db.q.execute(sql`update skus set offered = false where code = 'rtx4090-1x'`);
    expect(await create('rtx4090-1x')).toMatchObject({ status: 404, body: { code: 'sku_not_found' } });
  });

  it.each([
    ['peer-user', 403, 'ownership_required'],
    ['other-user', 404, 'project_not_found'],
  ] as const)('in the project of %s: %i %s', async (whose, status, code) => {
    const answer = await create(soldOut, { projectId: projectOf(whose) });
    expect(answer).toMatchObject({ status, body: { code } });
  });

  it('409 sku_unavailable, again under its key, and to be read as an operation', async () => {
    const refused = await create(soldOut);
    expect(refused).toMatchObject({ status: 409, body: { code: 'sku_unavailable' } });
    const again = await create(soldOut, { key: refused.key });
    expect(again).toMatchObject({ status: 409, body: { code: 'sku_unavailable' } });
    const operation = await get(
      `/api/v1/operations/${operationIdOf('dev-user', createAllocation.id, refused.key)}`,
    );
    expect(operation).toMatchObject({
      status: 200,
      body: {
        kind: 'allocation.create',
        state: 'refused',
        entity_id: refused.id,
        error: { code: 'sku_unavailable' },
        decided_at: expect.any(String),
      },
    });
    expect(await lab.row(refused.id)).toBeUndefined();
  });

  it('402 insufficient_balance, when that was decided under the key', async () => {
    const [key, body] = [randomUUID(), { ...good(), scheduler_type: 'bare_metal' }];
    const caller = subjectOf('dev-user');
    const decided = { kind: 'refused', code: 'insufficient_balance' } as const;
    await openOperation(
      lab.db.q,
      {
        id: asId(operationIdOf('dev-user', createAllocation.id, key)),
        caller,
        route: createAllocation.id,
        key,
        bodyHash: canonicalHash(body),
        kind: 'allocation.create',
        orgId: randomUUID(),
        entityId: allocationIdOf('dev-user', key),
        request: {},
        correlationId: 'c',
      },
      decided,
    );
    const answer = await create(soldOut, { key });
    expect(answer).toMatchObject({ status: 402, body: { code: 'insufficient_balance' } });
  });

  it('409 allocation_concurrency_limit: creates at once never exceed it', async () => {
    await lab.setPolicy('allocation.max_concurrent_per_user', racersAllowed);
    try {
      const wish = { as: 'solo-user' } as const;
      const answers = await Promise.all(Array.from({ length: racers }, () => create('race', wish)));
      const made = answers.filter((answer) => answer.status === 201);
      expect(made).toHaveLength(racersAllowed);
      const refused = answers.filter((answer) => answer.status !== 201);
      for (const answer of [...refused, await create('race', wish)]) {
        expect(answer).toMatchObject({ status: 409, body: { code: 'allocation_concurrency_limit' } });
      }
      expect(await walk('/api/v1/allocations?sku=race', 10, 'solo-user')).toHaveLength(racersAllowed);
    } finally {
      await lab.setPolicy('allocation.max_concurrent_per_user', 100_000);
    }
  });
});

describe('listAllocations and adminListAllocations', () => {
  let project: string;
  const mine: string[] = [];
  let theirs: string;
  beforeAll(async () => {
    project = await newProject('peer-user');
    for (let n = 0; n < 3; n += 1) mine.unshift(await createdActive('list', { projectId: project }));
    theirs = await createdActive('theirs', { as: 'other-user' });
  });

  it('200: every one once, newest first, page by page', async () => {
    for (const limit of [1, 2, 3, 200]) {
      expect(idsOf(await walk(`/api/v1/allocations?project_id=${project}`, limit))).toEqual(mine);
    }
    const all = await walk<Listed>('/api/v1/allocations', 2);
    const created = all.map((item) => item.created_at);
    expect(created).toEqual([...created].sort().reverse());
    expect(new Set(idsOf(all)).size).toBe(all.length);
  });

  it('200: by state, SKU and project', async () => {
    expect(idsOf(await walk('/api/v1/allocations?sku=list&state=active', 50))).toEqual(mine);
    expect(await walk('/api/v1/allocations?sku=list&state=released', 50)).toEqual([]);
    expect(await walk(`/api/v1/allocations?sku=repeat&project_id=${project}`, 50)).toEqual([]);
    expect(await walk(`/api/v1/allocations?project_id=${randomUUID()}`, 50)).toEqual([]);
  });

  it('200: members of the project see them, other organisations never', async () => {
    expect(idsOf(await walk('/api/v1/allocations?sku=list', 2, 'peer-user'))).toEqual(mine);
    const strangers = await walk<Listed>('/api/v1/allocations', 50, 'other-user');
    expect(idsOf(strangers)).toEqual([theirs]);
    expect(await walk(`/api/v1/allocations?project_id=${project}`, 50, 'other-user')).toEqual([]);
    expect(idsOf(await walk('/api/v1/allocations', 50))).not.toContain(theirs);
  });

  it.each(['state=gone', 'sku=Not%20A%20SKU', 'project_id=mine', 'limit=0', 'cursor=AAAA', 'org_id=x'])(
    '400 for ?%s',
    async (query) => {
      const answer = await get(`/api/v1/allocations?${query}`);
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    },
  );

  it('200 for an admin: all of them, by organisation, user and node', async () => {
    const at = '/api/v1/admin/allocations';
    const [one] = await walk<Listed>(`${at}?sku=theirs`, 2, 'dev-admin');
    expect(one?.id).toBe(theirs);
    for (const query of [`org_id=${one?.org_id}`, `user_id=${one?.user_id}`, `node_id=${one?.node_id}`]) {
      expect(idsOf(await walk(`${at}?${query}`, 2, 'dev-admin'))).toEqual([theirs]);
    }
    const everything = await walk<Listed>(at, 2, 'dev-admin');
    expect(idsOf(everything)).toEqual(expect.arrayContaining([...mine, theirs]));
    const stored = await lab.db.q.execute<{ id: string }>(sql`
      select id from allocations order by created_at desc, id desc`);
    expect(idsOf(everything)).toEqual(idsOf(stored.rows));
  });

  it('403 for anybody else', async () => {
    const answer = await get(`/api/v1/admin/allocations?user_id=${subjectOf('dev-user')}`);
    expect(answer).toMatchObject({ status: 403, body: { code: 'admin_required' } });
  });
});

describe('getAllocation, getAllocationTimeline and releaseAllocation', () => {
  let id: string;
  const key = randomUUID();
  beforeAll(async () => {
    id = await createdActive('life');
  });

  it('200: how to connect while it is active', async () => {
    const { body } = await get('/api/v1/auth/personal');
    const { username } = (body as { posix: { username: string } }).posix;
    const seen = await get(`/api/v1/allocations/${id}`);
    expect(seen.body).toMatchObject({
      state: 'active',
      connection: { host: '127.0.0.1', port: 22, username },
      active_at: expect.any(String),
      released_at: null,
    });
  });

  it('400, 403 and 404: no id, a colleague’s, nobody’s and another organisation’s', async () => {
    for (const suffix of ['', '/timeline', '/explain']) {
      const ask = async (which: string, as: DevUser = 'dev-user') => {
        const answer = await get(`/api/v1/allocations/${which}${suffix}`, as);
        return [answer.status, field(answer, 'code')];
      };
      expect(await ask('mine')).toEqual([400, 'validation_error']);
      expect(await ask(id, 'peer-user')).toEqual([403, 'ownership_required']);
      expect(await ask(randomUUID())).toEqual([404, 'allocation_not_found']);
      expect(await ask(id, 'other-user')).toEqual([404, 'allocation_not_found']);
    }
  });

  it('202: an accepted release is an operation', async () => {
    const answer = await lab.release(id, { key, reason: 'done with it' });
    expect(answer.status).toBe(202);
    const operationId = operationIdOf('dev-user', releaseAllocation.id, key);
    expect(answer.headers.get('location')).toBe(`/api/v1/operations/${operationId}`);
    expect(answer.body).toEqual({
      id: operationId,
      kind: 'allocation.release',
      state: 'accepted',
      entity_id: id,
      entity_url: `/api/v1/allocations/${id}`,
      error: null,
      created_at: expect.any(String),
      decided_at: expect.any(String),
    });
    expect((await get(`/api/v1/operations/${operationId}`)).body).toEqual(answer.body);
    await lab.untilState(id, 'released');
    const seen = await get(`/api/v1/allocations/${id}`);
    expect(seen.body).toMatchObject({ state: 'released', connection: null, released_at: expect.any(String) });
  });

  it('409: a refused release is an operation too', async () => {
    const late = randomUUID();
    const answer = await lab.release(id, { key: late });
    expect(answer).toMatchObject({ status: 409, body: { code: 'allocation_not_active' } });
    const at = `/api/v1/operations/${operationIdOf('dev-user', releaseAllocation.id, late)}`;
    expect(await get(at)).toMatchObject({
      status: 200,
      body: { state: 'refused', error: { code: 'allocation_not_active' }, decided_at: expect.any(String) },
    });
    expect(await get(at, 'peer-user')).toMatchObject({ status: 403, body: { code: 'ownership_required' } });
    expect(await get(at, 'other-user')).toMatchObject({ status: 404, body: { code: 'operation_not_found' } });
  });

  it('202: a release that waits for a worker is an open operation', async () => {
    const waiting = await createdActive('open');
    await lab.stopWorker();
    const answer = await lab.release(waiting);
    await lab.startWorker();
    expect(answer).toMatchObject({ status: 202, body: { state: 'open', error: null, decided_at: null } });
    const at = String(answer.headers.get('location'));
    expect(at).toBe(`/api/v1/operations/${String(field(answer, 'id'))}`);
    await until('the release is decided', async () => field(await get(at), 'state') === 'accepted');
    await lab.untilState(waiting, 'released');
  });

  it('200: the timeline tells every change and how long each took', async () => {
    interface Entry {
      readonly seq: number;
      readonly event: string;
      readonly from_state: string | null;
      readonly to_state: string;
      readonly at: string;
      readonly elapsed_ms: number;
      readonly actor_type: string;
      readonly reason: string | null;
    }
    const all = await walk<Entry>(`/api/v1/allocations/${id}/timeline`, 200);
    expect(all.map((entry) => entry.event)).toEqual([
      'requested',
      'provisioning_started',
      'activated',
      'release_requested',
      'released',
    ]);
    all.forEach((entry, index) => {
      const before = all[index - 1];
      expect(entry.seq).toBe((before?.seq ?? 0) + 1);
      expect(entry.from_state).toBe(before?.to_state ?? null);
      expect(entry.elapsed_ms).toBe(before === undefined ? 0 : Date.parse(entry.at) - Date.parse(before.at));
    });
    expect(all.find((entry) => entry.event === 'release_requested')).toMatchObject({
      actor_type: 'user',
      reason: 'done with it',
    });
    for (const limit of [1, 2]) expect(await walk(`/api/v1/allocations/${id}/timeline`, limit)).toEqual(all);
  });
});
