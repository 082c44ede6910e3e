import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { field, startApiHarness, startTimeoutMs, type ApiHarness, type DevUser } from '../harness/api.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';

let h: ApiHarness;
beforeAll(async () => {
  h = await startApiHarness();
  // Everybody has been here once.
  for (const { username } of REALM.users) await h.request('GET', '/api/v1/auth/personal', { as: username });
}, startTimeoutMs);
afterAll(() => h?.stop(), startTimeoutMs);

const uniqueName = (): string => `p-${randomUUID()}`;
const idOf = (user: DevUser): string => REALM.users.find((one) => one.username === user)?.sub ?? '';

async function newProject(as: DevUser = 'dev-user'): Promise<string> {
  const made = await h.request('POST', '/api/v1/projects', { as, body: { name: uniqueName() } });
  expect(made.status).toBe(201);
  return String(field(made, 'id'));
}

describe('createProject', () => {
  it('201: the caller owns it', async () => {
    const name = uniqueName();
    const made = await h.request('POST', '/api/v1/projects', {
      as: 'dev-user',
      body: { name, display_name: ' Ünïcode ' },
    });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ name, display_name: 'Ünïcode', owner_user_id: idOf('dev-user') });
    expect(made.headers.get('location')).toBe(`/api/v1/projects/${String(field(made, 'id'))}`);
    const members = await h.request('GET', `/api/v1/projects/${String(field(made, 'id'))}/members`, {
      as: 'dev-user',
    });
    expect(members.body).toMatchObject({
      items: [{ user_id: idOf('dev-user'), role: 'owner' }],
      next_cursor: null,
    });
  });

  it('201 for all of 20 at once with one key, and one project', async () => {
    const [key, name] = [randomUUID(), uniqueName()];
    const send = () => h.request('POST', '/api/v1/projects', { as: 'dev-user', body: { name }, key });
    const answers = await Promise.all(Array.from({ length: 20 }, send));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 20 }, () => 201));
    expect(new Set(answers.map((answer) => field(answer, 'id'))).size).toBe(1);
  });

  it('201 under a key that another user has used', async () => {
    const key = randomUUID();
    const first = await h.request('POST', '/api/v1/projects', {
      as: 'dev-user',
      body: { name: uniqueName() },
      key,
    });
    const second = await h.request('POST', '/api/v1/projects', {
      as: 'other-user',
      body: { name: uniqueName() },
      key,
    });
    expect([first.status, second.status]).toEqual([201, 201]);
  });

  // prettier-ignore
  it.each([
    ['no body',             undefined],
    ['no name',             {}],
    ['a name of capitals',  { name: 'Abc' }],
    ['a name too long',     { name: 'a'.repeat(64) }],
    ['a reserved name',     { name: 'default-0a000000-0000-4000-8000-000000000001' }],
    ['an unknown field',    { name: 'abc', owner: 'me' }],
    ['a control character', { name: 'abc', display_name: 'a\u0000b' }],
    ['half a surrogate',    { name: 'abc', display_name: 'a\ud800b' }],
    ['an array',            []],
    ['null',                null],
  ])('400 for %s', async (_what, body) => {
    const answer = await h.request('POST', '/api/v1/projects', { as: 'dev-user', body });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'validation_error', details: { issues: [expect.anything()] } });
  });

  it('409 for a name that the organisation has, and again under the same key', async () => {
    const [key, name] = [randomUUID(), uniqueName()];
    await h.request('POST', '/api/v1/projects', { as: 'peer-user', body: { name } });
    const again = () => h.request('POST', '/api/v1/projects', { as: 'dev-user', body: { name }, key });
    expect(await again()).toMatchObject({ status: 409, body: { code: 'project_already_exists' } });
    expect(await again()).toMatchObject({ status: 409, body: { code: 'project_already_exists' } });
    const elsewhere = await h.request('POST', '/api/v1/projects', { as: 'other-user', body: { name } });
    expect(elsewhere.status).toBe(201);
  });

  it('409 for a key that stood for another body', async () => {
    const key = randomUUID();
    const send = (name: string) =>
      h.request('POST', '/api/v1/projects', { as: 'dev-user', body: { name }, key });
    expect((await send(uniqueName())).status).toBe(201);
    expect(await send(uniqueName())).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
  });
});

describe('listProjects', () => {
  it('200: page by page, every project of the member once, by name', async () => {
    for (let n = 0; n < 5; n += 1) await newProject('solo-user');
    const names: string[] = [];
    let cursor: unknown = '';
    while (cursor !== null) {
      const more = cursor === '' ? '' : `&cursor=${String(cursor)}`;
      const page = await h.request('GET', `/api/v1/projects?limit=2${more}`, { as: 'solo-user' });
      expect(page.status).toBe(200);
      names.push(...(field(page, 'items') as { name: string }[]).map((item) => item.name));
      cursor = field(page, 'next_cursor');
    }
    expect(names).toHaveLength(6);
    expect(names).toEqual([...new Set(names)].sort());
  });

  it.each([
    'cursor=AAAA',
    'cursor=WzFd',
    'limit=0',
    'limit=201',
    'limit=x',
    'limit=1&limit=2',
    'page=1',
    'token=eyJhbGciOi.x.y',
  ])('400 for ?%s', async (query) => {
    const answer = await h.request('GET', `/api/v1/projects?${query}`, { as: 'dev-user' });
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    expect(JSON.stringify(answer.body)).not.toContain('eyJhbGciOi');
  });
});

describe('getProject and listProjectMembers', () => {
  it.each(['', '/members'])('200 for a member, 403 for a colleague, 404 for others (%s)', async (suffix) => {
    const id = await newProject();
    const status = async (as: DevUser): Promise<number> =>
      (await h.request('GET', `/api/v1/projects/${id}${suffix}`, { as })).status;
    expect([await status('dev-user'), await status('peer-user'), await status('other-user')]).toEqual([
      200, 403, 404,
    ]);
    const refused = await h.request('GET', `/api/v1/projects/${id}${suffix}`, { as: 'peer-user' });
    expect(field(refused, 'code')).toBe('ownership_required');
    await h.request('PUT', `/api/v1/projects/${id}/members/${idOf('peer-user')}`, { as: 'dev-user' });
    expect(await status('peer-user')).toBe(200);
  });

  it.each(['abc', '%00', '%E0%A4%A', '00000000-0000-0000-0000-00000000000g'])(
    '400 for the id %s',
    async (id) => {
      const answer = await h.request('GET', `/api/v1/projects/${id}`, { as: 'dev-user' });
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    },
  );
});

describe('updateProject', () => {
  it('200, 403 for a peer, 404 for another organisation', async () => {
    const id = await newProject();
    const rename = (as: DevUser) =>
      h.request('PATCH', `/api/v1/projects/${id}`, { as, body: { display_name: 'Ours' } });
    expect(await rename('dev-user')).toMatchObject({ status: 200, body: { display_name: 'Ours' } });
    expect(await rename('peer-user')).toMatchObject({ status: 403, body: { code: 'ownership_required' } });
    expect(await rename('other-user')).toMatchObject({ status: 404, body: { code: 'project_not_found' } });
  });

  it('409 for a key that stood for another project', async () => {
    const [first, second, key] = [await newProject(), await newProject(), randomUUID()];
    const rename = (id: string) =>
      h.request('PATCH', `/api/v1/projects/${id}`, { as: 'dev-user', body: { display_name: 'x' }, key });
    expect((await rename(first)).status).toBe(200);
    expect(await rename(second)).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
  });
});

describe('project members', () => {
  it('200 and 204: a member comes and goes; a repeat changes nothing', async () => {
    const at = `/api/v1/projects/${await newProject()}/members/${idOf('peer-user')}`;
    const first = await h.request('PUT', at, { as: 'dev-user' });
    expect(first).toMatchObject({ status: 200, body: { role: 'member', user_id: idOf('peer-user') } });
    expect((await h.request('PUT', at, { as: 'dev-user' })).body).toEqual(first.body);
    const gone = await h.request('DELETE', at, { as: 'dev-user' });
    expect(gone).toMatchObject({ status: 204, body: undefined });
    expect(await h.request('DELETE', at, { as: 'dev-user' })).toMatchObject({
      status: 404,
      body: { code: 'user_not_found' },
    });
  });

  it('403 for a member, for a peer and for the removal of the owner', async () => {
    const id = await newProject();
    const at = (user: DevUser): string => `/api/v1/projects/${id}/members/${idOf(user)}`;
    await h.request('PUT', at('peer-user'), { as: 'dev-user' });
    for (const as of ['peer-user', 'dev-admin'] as const) {
      expect(await h.request('DELETE', at('peer-user'), { as })).toMatchObject({
        status: 403,
        body: { code: 'ownership_required' },
      });
    }
    expect((await h.request('DELETE', at('dev-user'), { as: 'dev-user' })).status).toBe(403);
  });

  it('404 for a user of another organisation or of none, and for a foreign project', async () => {
    const id = await newProject();
    for (const user of [idOf('other-user'), randomUUID()]) {
      const answer = await h.request('PUT', `/api/v1/projects/${id}/members/${user}`, { as: 'dev-user' });
      expect(answer).toMatchObject({ status: 404, body: { code: 'user_not_found' } });
    }
    const foreign = await h.request('PUT', `/api/v1/projects/${id}/members/${idOf('other-user')}`, {
      as: 'other-user',
    });
    expect(foreign).toMatchObject({ status: 404, body: { code: 'project_not_found' } });
  });
});
