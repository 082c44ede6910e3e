import { z } from 'zod';
import { endpoint, instantSchema, lineOfText, pageOf, pageQuery, uuidParam } from '../http.api.ts';

const keyName = lineOfText(100);

export const sshKeySchema = z
  .strictObject({
    id: z.uuid(),
    name: z.string(),
    type: z.string().meta({ example: 'ssh-ed25519' }),
    fingerprint: z.string().meta({ description: 'SHA256 fingerprint as OpenSSH prints it.' }),
    public_key: z.string().meta({ description: 'Type and key, without the comment.' }),
    created_at: instantSchema,
  })
  .meta({ id: 'SshKey' });

const shared = { listener: 'public', tag: 'ssh-keys', auth: 'user', rate: 'api' } as const;

export const createSshKey = endpoint({
  ...shared,
  id: 'createSshKey',
  method: 'post',
  path: '/api/v1/ssh-keys',
  summary: 'Register a public key; used by allocations made afterwards',
  description:
    'Takes one OpenSSH public key line (ed25519, ecdsa, RSA of 2048 bits or more, and the sk- kinds). Anything else, a ' +
    'private key above all, is a `validation_error`; so is a key beyond `ssh_keys.max_per_user`.',
  idempotent: true,
  params: undefined,
  query: undefined,
  body: z
    .strictObject({ name: keyName, public_key: z.string().min(1).max(16_384) })
    .meta({ id: 'SshKeyCreate' }),
  responses: { 201: { description: 'Registered.', schema: sshKeySchema } },
  errors: ['ssh_key_already_exists', 'idempotency_key_reused'],
});

export const listSshKeys = endpoint({
  ...shared,
  id: 'listSshKeys',
  method: 'get',
  path: '/api/v1/ssh-keys',
  summary: 'Your keys, newest first',
  idempotent: false,
  params: undefined,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('SshKeyPage', sshKeySchema) } },
  errors: [],
});

export const deleteSshKey = endpoint({
  ...shared,
  id: 'deleteSshKey',
  method: 'delete',
  path: '/api/v1/ssh-keys/{ssh_key_id}',
  summary: 'Delete a key; running allocations keep it',
  idempotent: true,
  params: uuidParam('ssh_key_id'),
  query: undefined,
  body: undefined,
  responses: { 204: { description: 'Deleted.', schema: null } },
  errors: ['ssh_key_not_found', 'ownership_required', 'idempotency_key_reused'],
});

export const sshKeyEndpoints = [createSshKey, listSshKeys, deleteSshKey] as const;
