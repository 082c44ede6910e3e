import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { clientTypes, schemaType } from '../../contracts/codegen/client.ts';
import { errorAnswers } from '../../contracts/codegen/error-answers.ts';
import {
  entriesAt,
  isJsonObject,
  objectAt,
  toJson,
  type Json,
  type JsonObject,
} from '../../contracts/codegen/json.ts';
import { drift, generate, generatedFiles, generatedFolder } from '../../contracts/codegen/main.ts';
import { openApiDocument } from '../../contracts/codegen/openapi.ts';
import { endpoints } from '../../contracts/endpoints.api.ts';
import { errorCatalogue, errorCodes } from '../../contracts/errors.ts';
import type { Endpoint } from '../../contracts/http.api.ts';
import { compile } from './compile.ts';

const all: readonly Endpoint[] = endpoints;
const document = toJson(parse(await readFile(join(generatedFolder, 'openapi.yaml'), 'utf8'))) as JsonObject;
const components = objectAt(document, 'components');
const named = (of: Endpoint): string => `${of.method.toUpperCase()} ${of.path}`;
const operationAt = (of: Endpoint): JsonObject =>
  objectAt(objectAt(objectAt(document, 'paths'), of.path), of.method);
const rows = all.map((of) => [named(of), of] as const);

function resolved(value: Json): JsonObject {
  if (!isJsonObject(value)) throw new Error('no object');
  if (typeof value['$ref'] !== 'string') return value;
  const [, , group = '', name = ''] = value['$ref'].split('/');
  return objectAt(objectAt(components, group), name);
}
const answerAt = (of: Endpoint, status: number): JsonObject =>
  resolved(objectAt(operationAt(of), 'responses')[String(status)] ?? null);
const schemaAt = (holder: JsonObject): Json =>
  objectAt(objectAt(holder, 'content'), 'application/json')['schema'] ?? null;
const parametersOf = (of: Endpoint): readonly JsonObject[] => {
  const list = operationAt(of)['parameters'];
  return Array.isArray(list) ? list.map(resolved) : [];
};

describe('drift', () => {
  it('the committed files are those of the contract', async () => {
    expect(await drift()).toEqual([]);
  });

  it('two runs give the same bytes', () => {
    expect([...generatedFiles()]).toEqual([...generatedFiles()]);
  });

  it('names a changed, a missing and a strange file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'generated-'));
    try {
      await generate(folder);
      expect(await drift(folder)).toEqual([]);
      await writeFile(join(folder, 'openapi.yaml'), 'openapi: 3.1.0\n');
      await rm(join(folder, 'client.ts'));
      await writeFile(join(folder, 'notes.txt'), '');
      const found = await drift(folder);
      expect(found).toHaveLength(3);
      for (const name of ['openapi.yaml', 'client.ts', 'notes.txt']) expect(found.join('\n')).toContain(name);
      await rm(join(folder, 'notes.txt'));
      await generate(folder);
      expect(await drift(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the document and the endpoints', () => {
  it('has each endpoint and no other operation', () => {
    const found = entriesAt(document, 'paths').flatMap(([path, item]) =>
      Object.keys(item as JsonObject)
        .filter((key) => key !== 'servers')
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(found.sort()).toEqual(all.map(named).sort());
    expect(new Set(all.map((of) => of.id)).size).toBe(all.length);
  });

  it('says every catalogue code in the Error schema', () => {
    const properties = objectAt(objectAt(objectAt(components, 'schemas'), 'Error'), 'properties');
    expect(objectAt(properties, 'code')['enum']).toEqual([...errorCodes]);
  });

  it('closes the Error schema', () => {
    const validator = compile(document, { $ref: '#/components/schemas/Error' }, 'draft-2020-12');
    const envelope = { code: 'internal_error', message: 'm', correlation_id: 'c' };
    expect(validator.safeParse(envelope).success).toBe(true);
    expect(validator.safeParse({ ...envelope, details: { any: 1 } }).success).toBe(true);
    expect(validator.safeParse({ ...envelope, stranger: 1 }).success).toBe(false);
    expect(validator.safeParse({ ...envelope, code: 'made_up' }).success).toBe(false);
  });

  it.each(rows)('%s: who, where and how', (_, of) => {
    const operation = operationAt(of);
    expect(operation).toMatchObject({
      operationId: of.id,
      tags: [of.tag],
      summary: of.summary,
      'x-rate-class': of.rate,
    });
    expect(operation['x-audit-action']).toBe(of.audit);
    const scheme = { none: [], user: ['bearerAuth'], admin: ['bearerAuth'], node: ['nodeSecret'] }[of.auth];
    expect(operation['security']).toEqual(scheme.map((name) => ({ [name]: [] })));
    const { servers } = objectAt(objectAt(document, 'paths'), of.path);
    expect(servers === undefined ? 'public' : 'internal').toBe(of.listener);
    const body = operation['requestBody'];
    expect(body === undefined).toBe(of.body === undefined);
    if (of.body !== undefined && isJsonObject(body)) {
      expect(body['required']).toBe(!of.body.safeParse(undefined).success);
    }
  });

  it.each(rows)('%s: parameters', (_, of) => {
    const names = (place: string) =>
      parametersOf(of)
        .filter((parameter) => parameter['in'] === place)
        .map((parameter) => parameter['name']);
    const placeholders = [...of.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(names('path')).toEqual(placeholders);
    expect(Object.keys(of.params?.shape ?? {})).toEqual(placeholders);
    expect(names('query')).toEqual(Object.keys(of.query?.shape ?? {}));
    const keyed = of.idempotent ? ['X-Idempotency-Key'] : [];
    expect(names('header')).toEqual([...keyed, 'X-Correlation-Id']);
  });

  it.each(rows)('%s: answers', (_, of) => {
    const errors = errorAnswers(of);
    const statuses = [...Object.keys(of.responses), ...errors.map(({ status }) => String(status))];
    expect(Object.keys(objectAt(operationAt(of), 'responses')).sort()).toEqual(statuses.sort());
    for (const status of Object.keys(of.responses)) {
      const headers = Object.keys(objectAt(answerAt(of, Number(status)), 'headers'));
      expect(headers).toContain('X-Correlation-Id');
      expect(headers.includes('RateLimit-Remaining')).toBe(of.rate !== 'none');
    }
    for (const { status, codes } of errors) {
      const answer = answerAt(of, status);
      expect(answer['x-error-codes']).toEqual([...codes]);
      const headers = Object.keys(objectAt(answer, 'headers'));
      expect(headers.includes('Retry-After')).toBe(status === 429 || status === 503);
      expect(headers.includes('RateLimit-Reset')).toBe(status === 429);
    }
    for (const code of of.errors) {
      expect(answerAt(of, errorCatalogue[code].status)['x-error-codes']).toContain(code);
    }
  });

  it.each(rows)('%s: every schema compiles, and an error answer takes its own codes only', (_, of) => {
    for (const [status, { schema }] of Object.entries(of.responses)) {
      const answer = answerAt(of, Number(status));
      expect(answer['content'] === undefined).toBe(schema === null);
      if (schema !== null) compile(document, schemaAt(answer), 'draft-2020-12');
    }
    const body = operationAt(of)['requestBody'];
    if (isJsonObject(body)) compile(document, schemaAt(body), 'draft-2020-12');
    for (const parameter of parametersOf(of)) compile(document, parameter['schema'] ?? null, 'draft-2020-12');
    for (const { status, codes } of errorAnswers(of)) {
      const validator = compile(document, schemaAt(answerAt(of, status)), 'draft-2020-12');
      for (const code of errorCodes) {
        const envelope = { code, message: 'm', correlation_id: 'c' };
        expect(validator.safeParse(envelope).success, `${status} ${code}`).toBe(codes.includes(code));
      }
    }
  });
});

describe('the generators refuse what they do not understand', () => {
  const [first] = all;
  if (first === undefined) throw new Error('no endpoint');

  it.each([
    ['an undeclared tag', [{ ...first, tag: 'other' }], 'is not declared'],
    ['a repeated operation', [first, { ...first, id: 'again' }], 'is declared twice'],
  ])('%s', (_, changed, message) => {
    expect(() => openApiDocument(changed)).toThrow(message);
  });

  it.each<[string, Json, string]>([
    ['an unknown keyword', { type: 'object', patternProperties: {} }, 'are not understood'],
    ['an unknown type', { type: 'tuple' }, 'is not understood'],
    ['an outside reference', { $ref: 'other.yaml#/X' }, 'is not understood'],
    ['a combination beside properties', { anyOf: [{ type: 'string' }], properties: {} }, 'is not understood'],
    [
      'an object that is open and has properties',
      { type: 'object', properties: { a: {} }, additionalProperties: true },
      'not understood',
    ],
    ['a schema that is a boolean', true, 'is not understood'],
  ])('client types: %s', (_, schema, message) => {
    expect(() => schemaType(schema, 0)).toThrow(message);
  });

  it('client types: an answer without a schema', () => {
    const broken = {
      paths: { '/x': { get: { operationId: 'x', responses: { 200: { content: { 'text/plain': {} } } } } } },
    };
    expect(() => clientTypes({ ...broken, components: {} })).toThrow('has no schema');
  });
});
