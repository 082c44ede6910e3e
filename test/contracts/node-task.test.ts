import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { isJsonObject, objectAt, toJson, type JsonObject } from '../../contracts/codegen/json.ts';
import {
  gpuScrubParams,
  nodeCleanupTaskResult,
  storageCleanupParams,
  validateCleanParams,
} from '../../contracts/nodes/node-task.api.ts';
import { digestOf } from './schema-digest.ts';

const json = (value: unknown): JsonObject => {
  const plain = toJson(value);
  if (!isJsonObject(plain)) throw new Error('no object');
  return plain;
};
const read = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');

const source = json(JSON.parse(read('seed-node-tasks.json')));
const document = json(parse(read('../../contracts/generated/openapi.yaml')));
const generated = objectAt(objectAt(document, 'components'), 'schemas');

const declared: Readonly<Record<string, z.ZodType>> = {
  NodeGPUScrubTaskParams: gpuScrubParams,
  NodeStorageCleanupTaskParams: storageCleanupParams,
  NodeValidateCleanTaskParams: validateCleanParams,
  NodeCleanupTaskResult: nodeCleanupTaskResult,
};

describe('the node task schemas and the source contract', () => {
  it('compares every schema of the source', () => {
    expect(Object.keys(declared).sort()).toEqual(Object.keys(source).sort());
  });

  it.each(Object.entries(declared))(
    'the declaration of %s is that of the source, field by field',
    (name, schema) => {
      expect(schema.meta()?.id).toBe(name);
      const plain = json(z.toJSONSchema(schema, { target: 'draft-7' }));
      expect(digestOf(plain, plain)).toEqual(source[name]);
    },
  );

  it.each(Object.keys(declared))('the generated %s is that of the source, field by field', (name) => {
    expect(digestOf(objectAt(generated, name), document)).toEqual(source[name]);
  });
});

describe('the comparison itself', () => {
  const digest = (schema: z.ZodType) => {
    const plain = json(z.toJSONSchema(schema, { target: 'draft-7' }));
    return digestOf(plain, plain);
  };
  const usual = {
    mode: z.enum(['reset', 'verify_only']),
    list: z.array(z.string()).min(1),
    id: z.uuid().optional(),
  };

  it.each([
    ['an open object', z.looseObject(usual)],
    ['another enum', z.strictObject({ ...usual, mode: z.enum(['reset', 'verify']) })],
    ['another bound', z.strictObject({ ...usual, list: z.array(z.string()).min(2) })],
    ['another item', z.strictObject({ ...usual, list: z.array(z.string().regex(/^a/)).min(1) })],
    ['a required member', z.strictObject({ ...usual, id: z.uuid() })],
    ['a nullable member', z.strictObject({ ...usual, id: z.uuid().nullable().optional() })],
    ['another format', z.strictObject({ ...usual, id: z.iso.datetime().optional() })],
    ['one member more', z.strictObject({ ...usual, more: z.string().optional() })],
  ])('tells %s from the original', (_, changed) => {
    expect(digest(changed)).not.toEqual(digest(z.strictObject(usual)));
  });
});
