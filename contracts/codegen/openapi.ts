import type { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiRequestBodyObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import { endpoints } from '../endpoints.api.ts';
import type { ErrorCode } from '../errors.ts';
import { errorEnvelopeSchema, type Endpoint } from '../http.api.ts';
import { nodeTaskResults, nodeTaskSchema } from '../nodes/node-task.api.ts';
import { errorAnswers, type ErrorAnswer } from './error-answers.ts';
import { isJsonObject, objectAt, rewrite, toJson, type JsonDraft, type JsonObject } from './json.ts';
import { tidySchema } from './schemas.ts';

const publicServer = { url: 'http://127.0.0.1:8090', description: 'Public listener (local stack).' };
const internalServer = { url: 'https://127.0.0.1:8092', description: 'Node-agent listener (local stack).' };

/** Tags in the order of the document. An endpoint with another tag is refused. */
const tags: Readonly<Record<string, string>> = {
  health: 'Probes of the process.',
  auth: 'Who you are, and renewing a session.',
  projects: 'Projects and their members.',
  'ssh-keys': 'Public keys that new allocations install.',
  catalog: 'What can be allocated.',
  operations: 'What became of a mutation of a lifecycle.',
  notifications: 'What users and operators are told, and what they have read of it.',
  allocations: 'GPU nodes on lease, from request to release.',
  nodes: 'The fleet (admin).',
  policies: 'Business values that operators change at run time (admin).',
  audit: 'Privileged mutations and refusals (admin).',
  'dead-letters': 'Messages that consumers gave up on, and sending them again.',
  events: 'The log of events.',
  'node-agents': 'The protocol between the control plane and the agent on a node.',
};

const description = `The control plane of a GPU cloud.

Mutations carry \`X-Idempotency-Key\`: the same key with the same request gives the same answer again, the same key with another request is \`idempotency_key_reused\`.

Every error answer is the \`Error\` envelope; the answers of an operation name the codes that it can carry. Objects are closed: an unknown property or query parameter is a \`validation_error\`. Instants are RFC 3339 in UTC; amounts are integers in minor units. Three enumerations of answers grow: error \`code\`, operation \`kind\`, policy \`key\`; take a word that you do not know as one more.

\`X-Correlation-Id\` is accepted on every request (1 to 128 visible ASCII characters; anything else is replaced) and returned on every answer. Answers of rate-limited operations, errors after authentication included, carry the \`RateLimit-*\` headers.`;

const correlationHeader = { $ref: '#/components/headers/X-Correlation-Id' };
const retryAfterHeader = { $ref: '#/components/headers/Retry-After' };
const rateLimitHeaders = {
  'RateLimit-Limit': { $ref: '#/components/headers/RateLimit-Limit' },
  'RateLimit-Remaining': { $ref: '#/components/headers/RateLimit-Remaining' },
  'RateLimit-Reset': { $ref: '#/components/headers/RateLimit-Reset' },
};

const whole = (minimum: number) => ({ type: 'integer' as const, minimum });
const headers = {
  'X-Correlation-Id': {
    description: 'Correlation id of the request, as logs, events and operations carry it.',
    schema: { type: 'string' as const, minLength: 1, maxLength: 128, pattern: '^[\\x21-\\x7e]{1,128}$' },
  },
  'RateLimit-Limit': { description: 'Requests of the budget of one minute.', schema: whole(1) },
  'RateLimit-Remaining': { description: 'Requests left in this window.', schema: whole(0) },
  'RateLimit-Reset': { description: 'Seconds until the window starts anew.', schema: whole(0) },
  'Retry-After': { description: 'Seconds after which to repeat the request.', schema: whole(0) },
  Allow: { description: 'The methods of the path, comma-separated.', schema: { type: 'string' as const } },
};

const parameters = {
  IdempotencyKey: {
    name: 'X-Idempotency-Key',
    in: 'header' as const,
    required: true,
    description: 'Names this mutation: 1 to 255 visible ASCII characters, chosen by the caller.',
    schema: { type: 'string' as const, minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]{1,255}$' },
  },
  CorrelationId: {
    name: 'X-Correlation-Id',
    in: 'header' as const,
    required: false,
    description: 'Ties this request to others; made by the server when absent or unfit.',
    // Nothing is refused here: what does not fit is replaced.
    schema: { type: 'string' as const },
  },
};

const securitySchemes = {
  bearerAuth: {
    type: 'http' as const,
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'Access token of the OIDC issuer.',
  },
  nodeSecret: {
    type: 'http' as const,
    scheme: 'bearer',
    description: "The node's own secret, from its registration; covers that node only.",
  },
};

/** Names of error answers that many operations share, by status and codes; any other set stands inline. */
const sharedAnswers: Readonly<Record<string, ErrorAnswer>> = {
  BadRequest: { status: 400, codes: ['validation_error', 'invalid_request'] },
  Unauthorized: { status: 401, codes: ['token_missing', 'token_invalid', 'token_expired'] },
  NodeUnauthorized: { status: 401, codes: ['token_missing', 'token_invalid'] },
  NodeForbidden: { status: 403, codes: ['insufficient_permissions'] },
  Forbidden: { status: 403, codes: ['token_scope_invalid', 'insufficient_permissions'] },
  AdminRequired: {
    status: 403,
    codes: ['token_scope_invalid', 'insufficient_permissions', 'admin_required'],
  },
  MethodNotAllowed: { status: 405, codes: ['invalid_request'] },
  PayloadTooLarge: { status: 413, codes: ['invalid_request'] },
  UnsupportedMediaType: { status: 415, codes: ['invalid_request'] },
  TooManyRequests: { status: 429, codes: ['rate_limit_exceeded'] },
  InternalError: { status: 500, codes: ['internal_error'] },
  ServiceUnavailable: { status: 503, codes: ['service_unavailable'] },
};

const listed = (codes: readonly ErrorCode[]): string => codes.map((code) => `\`${code}\``).join(' or ');

/** The envelope, narrowed to the codes of one answer. */
const narrowedError = (codes: readonly ErrorCode[]) => ({
  allOf: [
    { $ref: '#/components/schemas/Error' },
    {
      type: 'object' as const,
      properties: { code: { type: 'string' as const, enum: [...codes] } },
      required: ['code'],
    },
  ],
});

function errorResponse({ status, codes }: ErrorAnswer) {
  const retry = status === 429 || status === 503 ? { 'Retry-After': retryAfterHeader } : {};
  const limits = status === 429 ? rateLimitHeaders : {};
  const allow = status === 405 ? { Allow: { $ref: '#/components/headers/Allow' } } : {};
  return {
    description: `${listed(codes)}.`,
    headers: { 'X-Correlation-Id': correlationHeader, ...limits, ...retry, ...allow },
    content: { 'application/json': { schema: narrowedError(codes) } },
    'x-error-codes': [...codes],
  };
}

const sameAnswer = (a: ErrorAnswer, b: ErrorAnswer): boolean =>
  a.status === b.status && a.codes.join() === b.codes.join();

function responsesOf(of: Endpoint): ZodOpenApiResponsesObject {
  const all: Record<string, unknown> = {};
  const limits = of.rate === 'none' ? {} : rateLimitHeaders;
  for (const [status, answer] of Object.entries(of.responses)) {
    const { schema } = answer;
    all[status] = {
      description: answer.description,
      headers: { 'X-Correlation-Id': correlationHeader, ...limits },
      ...(schema === null ? {} : { content: { 'application/json': { schema } } }),
    };
  }
  for (const answer of errorAnswers(of)) {
    const shared = Object.entries(sharedAnswers).find(([, candidate]) => sameAnswer(candidate, answer));
    all[String(answer.status)] =
      shared === undefined ? errorResponse(answer) : { $ref: `#/components/responses/${shared[0]}` };
  }
  return all as ZodOpenApiResponsesObject;
}

const bodyOf = (schema: z.ZodType): ZodOpenApiRequestBodyObject => ({
  required: !schema.safeParse(undefined).success,
  content: { 'application/json': { schema } },
});

const callers: Readonly<Record<Endpoint['auth'], string>> = {
  none: 'Anybody.',
  user: 'A signed-in user.',
  admin: 'An admin.',
  node: 'The agent of the node in the path.',
};

const security = {
  none: [],
  user: [{ bearerAuth: [] }],
  admin: [{ bearerAuth: [] }],
  node: [{ nodeSecret: [] }],
} satisfies Record<Endpoint['auth'], Record<string, string[]>[]>;

function operationOf(of: Endpoint): ZodOpenApiOperationObject {
  if (tags[of.tag] === undefined) throw new Error(`${of.id}: tag ${of.tag} is not declared`);
  const path = of.params === undefined ? {} : { path: of.params };
  const query = of.query === undefined ? {} : { query: of.query };
  const keyed = of.idempotent ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : [];
  return {
    operationId: of.id,
    tags: [of.tag],
    summary: of.summary,
    description: `${of.description ?? `${of.summary}.`}\n\nCaller: ${callers[of.auth]}`,
    security: security[of.auth],
    requestParams: { ...path, ...query },
    parameters: [...keyed, { $ref: '#/components/parameters/CorrelationId' }],
    ...(of.body === undefined ? {} : { requestBody: bodyOf(of.body) }),
    responses: responsesOf(of),
    'x-rate-class': of.rate,
    ...(of.audit === undefined ? {} : { 'x-audit-action': of.audit }),
  };
}

function pathsOf(all: readonly Endpoint[]): ZodOpenApiPathsObject {
  const paths: ZodOpenApiPathsObject = {};
  for (const of of all) {
    const item = (paths[of.path] ??= of.listener === 'internal' ? { servers: [internalServer] } : {});
    if (item[of.method] !== undefined) throw new Error(`${of.method} ${of.path} is declared twice`);
    item[of.method] = operationOf(of);
  }
  return paths;
}

/** Says in the document what the two opaque members of the task protocol hold. */
function describeTaskProtocol(schemas: JsonObject): JsonObject {
  const signed = objectAt(schemas, 'SignedNodeTask');
  const properties = objectAt(signed, 'properties');
  const payload: JsonDraft = {
    ...objectAt(properties, 'payload'),
    contentMediaType: 'application/json',
    contentSchema: { $ref: '#/components/schemas/NodeTask' },
  };
  const results: JsonDraft = {};
  for (const [kind, schema] of Object.entries(nodeTaskResults)) {
    const id = schema.meta()?.id;
    if (id === undefined) throw new Error(`the result of ${kind} has no id`);
    results[kind] = { $ref: `#/components/schemas/${id}` };
  }
  return {
    ...schemas,
    SignedNodeTask: { ...signed, properties: { ...properties, payload } },
    NodeTaskReport: { ...objectAt(schemas, 'NodeTaskReport'), 'x-result-schemas': results },
  };
}

const sorted = (members: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * The OpenAPI 3.1 document of the given endpoints, as plain JSON; the same input gives the same document.
 * @throws Error for an undeclared tag, a repeated operation or a schema that OpenAPI cannot say.
 */
export function openApiDocument(all: readonly Endpoint[] = endpoints): JsonObject {
  const document = createDocument({
    openapi: '3.1.0',
    info: {
      title: 'GPUaaS API',
      version: '0.1.0',
      description,
      contact: { name: 'GPUaaS Platform Team', email: 'platform@gpuaas.local' },
      license: { name: 'Proprietary' },
    },
    servers: [publicServer],
    tags: Object.entries(tags).map(([name, text]) => ({ name, description: text })),
    paths: pathsOf(all),
    components: {
      securitySchemes,
      headers,
      parameters,
      responses: Object.fromEntries(
        Object.entries(sharedAnswers).map(([name, answer]) => [name, errorResponse(answer)]),
      ),
      schemas: { Error: errorEnvelopeSchema, NodeTask: nodeTaskSchema, ...resultSchemas() },
    },
  });
  const tidy = rewrite(toJson(document), tidySchema);
  if (!isJsonObject(tidy)) throw new Error('the document is no object');
  const components = objectAt(tidy, 'components');
  const schemas = sorted(describeTaskProtocol(objectAt(components, 'schemas')));
  return { ...tidy, components: { ...components, schemas } };
}

function resultSchemas(): Record<string, z.ZodType> {
  const byId: Record<string, z.ZodType> = {};
  for (const schema of Object.values(nodeTaskResults)) byId[schema.meta()?.id ?? ''] = schema;
  return byId;
}
