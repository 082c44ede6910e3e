import { z } from 'zod';
import { isJsonObject, objectAt, rewrite, type Json, type JsonObject } from '../../contracts/codegen/json.ts';

const prefix = '#/components/schemas/';

/** `nullable: true`, which draft 7 itself does not know, as a null branch. */
function expandNullable(node: JsonObject): JsonObject {
  const { nullable, ...rest } = node;
  return nullable === true ? { anyOf: [rest, { type: 'null' }] } : node;
}

const anyUuid = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';

/** The format as JSON Schema has it: any version and variant, where `z.fromJSONSchema` takes some. */
function widenUuid(node: JsonObject): JsonObject {
  if (node['format'] !== 'uuid') return node;
  const { format: _, ...rest } = node;
  return { ...rest, pattern: anyUuid };
}

/**
 * A validator of one schema of a generated document, made from the document alone.
 * @throws Error when the schema, or one that it refers to, cannot be compiled.
 */
export function compile(document: JsonObject, schema: Json, version: 'draft-2020-12' | 'draft-7'): z.ZodType {
  const key = version === 'draft-7' ? 'definitions' : '$defs';
  const relocated = (value: Json): Json =>
    rewrite(value, (node) => {
      const target = node['$ref'];
      if (typeof target !== 'string') return expandNullable(widenUuid(node));
      if (!target.startsWith(prefix)) throw new Error(`${target} is no schema of the document`);
      return { ...node, $ref: `#/${key}/${target.slice(prefix.length)}` };
    });
  const root = relocated(schema);
  const schemas = relocated(objectAt(objectAt(document, 'components'), 'schemas'));
  if (!isJsonObject(root)) throw new Error('no schema');
  return z.fromJSONSchema({ ...root, [key]: schemas }, { defaultTarget: version });
}
