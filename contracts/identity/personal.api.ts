import { z } from 'zod';
import { endpoint } from '../http.api.ts';
import { posixId, posixUsername } from '../nodes/node-task.api.ts';
import { projectSchema } from './project.api.ts';

const personalSchema = z
  .strictObject({
    user_id: z.uuid(),
    org_id: z.uuid(),
    roles: z.array(z.enum(['user', 'admin'])),
    default_project: projectSchema,
    posix: z.strictObject({ username: posixUsername, uid: posixId, gid: posixId }),
  })
  .meta({ id: 'Personal' });

const shared = { listener: 'public', tag: 'auth', rate: 'api', params: undefined, query: undefined } as const;

export const bootstrapPersonal = endpoint({
  ...shared,
  id: 'bootstrapPersonal',
  method: 'post',
  path: '/api/v1/auth/personal/bootstrap',
  summary: 'First login: organisation, project and POSIX identity',
  description: 'Idempotent. Every other endpoint does the same on the first sight of a user.',
  auth: 'user',
  idempotent: true,
  body: undefined,
  responses: { 200: { description: 'Your identity.', schema: personalSchema } },
  errors: ['idempotency_key_reused'],
});

export const getPersonal = endpoint({
  ...shared,
  id: 'getPersonal',
  method: 'get',
  path: '/api/v1/auth/personal',
  summary: 'Who you are here',
  auth: 'user',
  idempotent: false,
  body: undefined,
  responses: { 200: { description: 'Your identity.', schema: personalSchema } },
  errors: [],
});

const tokenSchema = z
  .strictObject({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int(),
    refresh_token: z.string().nullable(),
  })
  .meta({ id: 'TokenSet' });

export const login = endpoint({
  ...shared,
  id: 'login',
  method: 'post',
  path: '/api/v1/auth/login',
  summary: 'Development only: trade a dev password for a token at the issuer',
  auth: 'none',
  rate: 'none',
  idempotent: false,
  body: z
    .strictObject({ username: z.string().min(1).max(100), password: z.string().min(1).max(200) })
    .meta({ id: 'Login' }),
  responses: { 200: { description: 'Tokens.', schema: tokenSchema } },
  errors: ['token_invalid', 'upstream_error', 'service_unavailable'],
});

export const refreshToken = endpoint({
  ...shared,
  id: 'refreshToken',
  method: 'post',
  path: '/api/v1/auth/token/refresh',
  summary: 'Renew a session at the issuer',
  auth: 'none',
  rate: 'none',
  idempotent: false,
  body: z.strictObject({ refresh_token: z.string().min(1).max(8192) }).meta({ id: 'TokenRefresh' }),
  responses: { 200: { description: 'Tokens.', schema: tokenSchema } },
  errors: ['token_invalid', 'upstream_error', 'service_unavailable'],
});

export const personalEndpoints = [bootstrapPersonal, getPersonal, refreshToken] as const;
