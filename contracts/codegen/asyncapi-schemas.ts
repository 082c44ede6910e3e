import { z } from 'zod';
import {
  isJsonObject,
  objectAt,
  rewrite,
  toJson,
  type Json,
  type JsonDraft,
  type JsonObject,
} from './json.ts';
import { tidySchema } from './schemas.ts';

const definitionPrefix = '#/definitions/';

const isNull = (schema: Json): boolean => isJsonObject(schema) && schema['type'] === 'null';

/**
 * `anyOf: [X, null]` (or `type: [X, null]`) as X with `nullable: true`, the form of the source contract.
 * @throws Error for any other use of a null type, which this form cannot say.
 */
function sayNullable(node: JsonObject): JsonObject {
  const { anyOf, type, ...rest } = node;
  if (Array.isArray(type)) {
    const others = type.filter((name: Json) => name !== 'null');
    const [only] = others;
    if (others.length !== 1 || only === undefined || rest['enum'] !== undefined) {
      throw new Error('a type of several members cannot be said with nullable');
    }
    return { type: only, ...rest, nullable: true };
  }
  if (!Array.isArray(anyOf) || !anyOf.some(isNull)) return node;
  const others = anyOf.filter((branch: Json) => !isNull(branch));
  const [only] = others;
  if (others.length !== 1 || !isJsonObject(only) || '$ref' in only) {
    throw new Error('a nullable union or reference cannot be said with nullable');
  }
  return { ...only, ...rest, nullable: true };
}

/** Formats that say alone what a generated pattern or encoding would say again. */
const wholeFormats = new Set(['byte', 'uri']);

/** Without the bounds of a JavaScript integer, which no contract states, and what a format says already. */
function sayOnce(node: JsonObject): JsonObject {
  const said: JsonDraft = { ...node };
  if (said['minimum'] === Number.MIN_SAFE_INTEGER) delete said['minimum'];
  if (said['maximum'] === Number.MAX_SAFE_INTEGER) delete said['maximum'];
  if (typeof said['format'] === 'string' && wholeFormats.has(said['format'])) {
    delete said['pattern'];
    delete said['contentEncoding'];
  }
  return said;
}

const relocate = (node: JsonObject): JsonObject => {
  const target = node['$ref'];
  if (typeof target !== 'string' || !target.startsWith(definitionPrefix)) return node;
  return { ...node, $ref: `#/components/schemas/${target.slice(definitionPrefix.length)}` };
};

/** A schema as the document says it, and the named schemas that it refers to. */
export interface SchemaParts {
  readonly schema: JsonObject;
  readonly schemas: JsonObject;
}

/**
 * A declaration in the form of AsyncAPI 2.6 (draft 7 with `nullable`). One that has an id becomes a reference to a named
 * schema; so do its parts that have one.
 * @throws Error for a schema that draft 7 cannot say.
 */
export function schemaParts(of: z.ZodType): SchemaParts {
  // Inside a wrapper every schema with an id is a definition, also the outermost.
  const wrapped = z.strictObject({ it: of });
  const generated = toJson(
    z.toJSONSchema(wrapped, { target: 'draft-7', io: 'output', unrepresentable: 'any' }),
  );
  const tidy = rewrite(generated, (node) => relocate(sayOnce(sayNullable(tidySchema(node)))));
  if (!isJsonObject(tidy)) throw new Error('no object');
  const schemas: JsonDraft = {};
  for (const [name, definition] of Object.entries(
    isJsonObject(tidy['definitions']) ? tidy['definitions'] : {},
  )) {
    if (!isJsonObject(definition)) throw new Error(`${name} is no schema`);
    const { id: _id, ...schema } = definition;
    schemas[name] = schema;
  }
  return { schema: objectAt(objectAt(tidy, 'properties'), 'it'), schemas };
}
