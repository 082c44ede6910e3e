import { generateKeyPairSync, randomUUID } from 'node:crypto';
import sshpk from 'sshpk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSshPublicKey } from '../../api/identity/ssh-public-key.ts';
import { signTask } from '../../api/nodes/node-task.signing.ts';
import { CodedError } from '../../contracts/errors.ts';
import { createSshKey } from '../../contracts/identity/ssh-key.api.ts';
import { policies } from '../../contracts/policies.ts';
import { field, startApiHarness, startTimeoutMs, type ApiHarness, type DevUser } from '../harness/api.ts';

/** A public key line of a fresh key pair. */
function freshKey(type: 'ed25519' | 'ec' | 'rsa' | 'dsa', bits = 2048): string {
  const pem = { type: 'spki', format: 'pem' } as const;
  const publicKey =
    type === 'ed25519'
      ? generateKeyPairSync('ed25519').publicKey.export(pem)
      : type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export(pem)
        : type === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export(pem)
          : generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).publicKey.export(pem);
  return sshpk.parseKey(publicKey, 'pem').toString('ssh').split(' ').slice(0, 2).join(' ');
}

const wire = (...fields: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(
    fields.flatMap((one) => {
      const bytes = Buffer.from(one);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
const skType = 'sk-ssh-ed25519@openssh.com';
const skKey = (application: string): string => {
  const point = Buffer.from(freshKey('ed25519').split(' ')[1] ?? '', 'base64').subarray(-32);
  return `${skType} ${wire(skType, point, application).toString('base64')}`;
};

describe('a public key line', () => {
  it.each(['ed25519', 'ec', 'rsa'] as const)('%s is kept as type and key; the comment goes', (type) => {
    const line = freshKey(type);
    const parsed = parseSshPublicKey(`  ${line}   someone@example.org and more \n`);
    expect(parsed.publicKey).toBe(line);
    expect(parsed.fingerprint).toBe(sshpk.parseKey(line, 'ssh').fingerprint('sha256').toString());
  });

  it('a key on hardware is taken with its application', () => {
    const line = skKey('ssh:');
    expect(parseSshPublicKey(line)).toMatchObject({ type: skType, publicKey: line });
  });

  it('has the fingerprint that OpenSSH prints', () => {
    // A key made by ssh-keygen and what `ssh-keygen -l` said of it.
    const line = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu/ZpOMmlLrH6kq29VUVwErOgdaVQPqcM/RxKERtzWW';
    const printed = 'SHA256:kf+dls+DLQ8fW7sRfqv4c+bfKJ6PcQ0W92h7IW4ot6U';
    expect(parseSshPublicKey(`${line} c`).fingerprint).toBe(printed);
  });

  const good = freshKey('ed25519');
  const [, blob = ''] = good.split(' ');
  const padded = Buffer.concat([Buffer.from(blob, 'base64'), Buffer.from([0])]).toString('base64');
  const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
  // prettier-ignore
  it.each([
    ['a private key',              generateKeyPairSync('ed25519').privateKey.export(pkcs8).toString(), 'private_key'],
    ['an OpenSSH private key',     '-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjEAAAAA',     'private_key'],
    ['a DSA key',                  freshKey('dsa'),                                                    'weak_key'],
    ['RSA of 1024 bits',           freshKey('rsa', 1024),                                              'weak_key'],
    ['two lines',                  `${good}\n${good}`,                                                 'several_lines'],
    ['a carriage return',          `${good}\r${good}`,                                                 'several_lines'],
    ['an options prefix',          `command="rm -rf /" ${good}`,                                       'unknown_type'],
    ['an option without spaces',   `no-pty ${good}`,                                                   'unknown_type'],
    ['a certificate',              `ssh-ed25519-cert-v01@openssh.com ${blob}`,                         'unknown_type'],
    ['garbage',                    'hello world',                                                      'unknown_type'],
    ['a name of every object',     'constructor AAAAC2NvbnN0cnVjdG9y',                                 'unknown_type'],
    ['another one',                `toString ${wire('toString', 'ssh:').toString('base64')}`,          'unknown_type'],
    ['its prototype',              `__proto__ ${wire('__proto__').toString('base64')}`,                'unknown_type'],
    ['no key',                     'ssh-ed25519',                                                      'invalid_key'],
    ['rubbish base64',             'ssh-ed25519 !!!!',                                                 'invalid_key'],
    ['a type that is not the key', `ssh-rsa ${blob}`,                                                  'invalid_key'],
    ['a byte too many',            `ssh-ed25519 ${padded}`,                                            'invalid_key'],
    ['a key cut short',            `ssh-ed25519 ${blob.slice(0, 40)}`,                                 'invalid_key'],
    ['a short point',              `ssh-ed25519 ${wire('ssh-ed25519', 'abc').toString('base64')}`,     'invalid_key'],
    ['an sk key for nobody',       skKey(''),                                                          'invalid_key'],
    ['an escape sequence',         `${good} \u001b[2J`,                                                'invalid_text'],
  ])('%s is refused without being echoed', (_what, text, code) => {
    let refusal: unknown;
    try {
      parseSshPublicKey(text);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(CodedError);
    expect(refusal).toMatchObject({ code: 'validation_error', details: { issues: [{ path: 'body.public_key', code }] } });
    const told = JSON.stringify([(refusal as CodedError).message, (refusal as CodedError).details]);
    for (const word of text.split(/\s+/).filter((part) => part.length > 20)) expect(told).not.toContain(word);
  });
});

describe('the most keys of a user', () => {
  /** What an agent reads of an answer, in bytes; other tasks travel in the same one. */
  const answerBytes = 4 * 1024 * 1024;
  const roomBytes = 512 * 1024;

  it('fit one answer to an agent, each as long as it can be', () => {
    const longest = createSshKey.body.shape.public_key.maxLength ?? Infinity;
    const at = new Date();
    const [id, other] = [randomUUID(), randomUUID()];
    const task = signTask(
      {
        ...{
          id,
          nodeId: other,
          allocationId: id,
          kind: 'node.allocation_prepare',
          state: 'queued',
          fence: 1,
        },
        ...{
          workflowId: 'w',
          runId: 'r',
          activityId: 'a',
          attempt: 1,
          correlationId: 'c',
          traceparent: null,
        },
        ...{
          createdAt: at,
          expiresAt: at,
          offeredAt: null,
          lastSeenAt: null,
          resultAt: null,
          completedAt: null,
        },
        ...{ verdict: null, result: null },
        params: {
          ...{ allocation_id: id, user_id: other, username: 'u', uid: 10_000, gid: 10_000, reason: 'r' },
          authorized_keys: Array.from({ length: policies['ssh_keys.max_per_user'].maximum }, () =>
            'x'.repeat(longest),
          ),
          gpu_slots: [0],
        },
      },
      generateKeyPairSync('ed25519').privateKey,
    );
    expect(Buffer.byteLength(JSON.stringify({ tasks: [task] }))).toBeLessThan(answerBytes - roomBytes);
  });
});

describe('the endpoints', () => {
  let h: ApiHarness;
  beforeAll(async () => {
    h = await startApiHarness();
  }, startTimeoutMs);
  afterAll(() => h?.stop(), startTimeoutMs);
  const create = (body: unknown, key = randomUUID(), as: DevUser = 'dev-user') =>
    h.request('POST', '/api/v1/ssh-keys', { as, body, key });

  it('201, the same again under the same key, 409 under another', async () => {
    const [body, key] = [{ name: ' laptop ', public_key: `${freshKey('ed25519')} me@home` }, randomUUID()];
    const first = await create(body, key);
    expect(first).toMatchObject({ status: 201, body: { name: 'laptop', type: 'ssh-ed25519' } });
    expect(JSON.stringify(first.body)).not.toContain('me@home');
    expect((await create(body, key)).body).toEqual(first.body);
    expect(await create(body)).toMatchObject({ status: 409, body: { code: 'ssh_key_already_exists' } });
    expect((await create(body, randomUUID(), 'peer-user')).status).toBe(201);
  });

  it('400 for a private key, of which nothing is answered or logged', async () => {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const answer = await create({ name: 'oops', public_key: pem });
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_error' } });
    const secret = pem.split('\n')[1] ?? '';
    expect(JSON.stringify(answer.body)).not.toContain(secret);
    expect(h.log.join('\n')).not.toContain(secret);
  });

  it('400 beyond the most keys of a user, also for twenty at once, and room again after a delete', async () => {
    const max = 7;
    const set = await h.request('PUT', '/api/v1/admin/policies/ssh_keys.max_per_user', {
      as: 'dev-admin',
      body: { value: max },
    });
    expect(set.status).toBe(200);
    const mine = async () => {
      const page = await h.request('GET', '/api/v1/ssh-keys?limit=100', { as: 'other-user' });
      return field(page, 'items') as { id: string }[];
    };
    const tries = Array.from({ length: 20 }, (_, n) => ({ name: `k${n}`, public_key: freshKey('ed25519') }));
    const answers = await Promise.all(tries.map((body) => create(body, randomUUID(), 'other-user')));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(max);
    for (const refused of answers.filter(({ status }) => status !== 201)) {
      expect(refused).toMatchObject({
        status: 400,
        body: { code: 'validation_error', details: { issues: [{ code: 'too_many_keys' }] } },
      });
    }
    const kept = await mine();
    expect(kept).toHaveLength(max);
    const [body, key] = [{ name: 'next', public_key: freshKey('ed25519') }, randomUUID()];
    expect((await create(body, key, 'other-user')).status).toBe(400);
    const at = `/api/v1/ssh-keys/${kept[0]?.id}`;
    expect((await h.request('DELETE', at, { as: 'other-user' })).status).toBe(204);
    // The same key: a refusal leaves nothing behind. And its repeat gets its answer, with no room left again.
    const made = await create(body, key, 'other-user');
    expect(made.status).toBe(201);
    expect((await create(body, key, 'other-user')).body).toEqual(made.body);
    expect(await mine()).toHaveLength(max);
  });

  it('200: pages, newest first; 204 and 404: only one’s own', async () => {
    const ids: unknown[] = [];
    for (const name of ['a', 'b', 'c'])
      ids.unshift(field(await create({ name, public_key: freshKey('ed25519') }), 'id'));
    const first = await h.request('GET', '/api/v1/ssh-keys?limit=2', { as: 'dev-user' });
    const second = await h.request(
      'GET',
      `/api/v1/ssh-keys?limit=2&cursor=${String(field(first, 'next_cursor'))}`,
      { as: 'dev-user' },
    );
    const listed = [first, second].flatMap((page) =>
      (field(page, 'items') as { id: string }[]).map((item) => item.id),
    );
    expect(listed.slice(0, 3)).toEqual(ids);
    const at = `/api/v1/ssh-keys/${String(ids[0])}`;
    expect(await h.request('DELETE', at, { as: 'peer-user' })).toMatchObject({
      status: 403,
      body: { code: 'ownership_required' },
    });
    expect(await h.request('DELETE', at, { as: 'other-user' })).toMatchObject({
      status: 404,
      body: { code: 'ssh_key_not_found' },
    });
    const key = randomUUID();
    expect((await h.request('DELETE', at, { as: 'dev-user', key })).status).toBe(204);
    expect((await h.request('DELETE', at, { as: 'dev-user', key })).status).toBe(204);
    expect((await h.request('DELETE', at, { as: 'dev-user' })).status).toBe(404);
  });
});
